package chat

import (
	"errors"
	"fmt"
)

// Error is a fault that a client is told, with its status, its stable code and
// a sentence. Two of them match, in the sense of errors.Is, when their codes do.
type Error struct {
	Status  int
	Code    string
	Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Is reports whether target has the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// With returns the error with another sentence.
func (e *Error) With(format string, args ...any) *Error {
	return &Error{Status: e.Status, Code: e.Code, Message: fmt.Sprintf(format, args...)}
}

// AsError returns what a client is told of err: itself, or ErrInternal.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return ErrInternal
}

// The faults of requests, in the words of the service that clients know,
// spelling included: programs compare them.
var (
	ErrInvalidAuthorization = &Error{400, "InvalidAuthorizationHeader", "The Authorization header format is invalid."}
	ErrInvalidDate          = &Error{400, "InvalidDateHeader", "The Date header format is invalid."}
	ErrMissingAuthorization = &Error{400, "MissingAuthorizationHeader", "Authorization header is required."}
	ErrMissingDate          = &Error{400, "MissingDateHeader", "Date header is required."}
	ErrMissingVersion       = &Error{400, "MissingVersionHeader", "x-mns-version header is required."}
	ErrInvalidArgument      = &Error{400, "InvalidArgument", "The XML you provided did not validate against our published schema."}
	ErrInvalidDigest        = &Error{400, "InvalidDegist", "The Content-MD5 you specified is invalid."}
	ErrInvalidURL           = &Error{400, "InvalidRequestURL", "Http request URL format invalid."}
	ErrInvalidQuery         = &Error{400, "InvalidQueryString", "Http request URL contains invalid querystring item."}
	ErrMalformedXML         = &Error{400, "MalformedXML", "The XML you provided was not well-formed."}
	ErrMissingHandle        = &Error{400, "MissingReceiptHandle", "ReceiptHandle is required."}
	ErrMissingVisibility    = &Error{400, "MissingVisibilityTimeout", "VisibilityTimeout is required."}
	ErrHandle               = &Error{400, "ReceiptHandleError", "The receipt handle you provide is not valid."}
	ErrQueueName            = &Error{400, "InvalidQueueName", "The queue name you provided is invalid. QueueName should start with alpha and contain only alpha, digit or - ."}
	ErrQueueNameLength      = &Error{400, "QueueNameLengthError", "Queue name length should between 1 and 256."}
	ErrQps                  = &Error{400, "QpsLimitExceeded", "The qps limit of the queue is exceeded"}
	ErrTopicName            = &Error{400, "TopicNameInvalid", "The topic name you provided is invalid. TopicName should start with alpha and contain only alpha, digit or - ."}
	ErrTopicNameLength      = &Error{400, "TopicNameLengthError", "Topic name length should between 1 and 256."}
	ErrSubscriptionName     = &Error{400, "SubscriptionNameInvalid", "The subscription name you provided is invalid. SubscriptionName should start with alpha and contain only alpha, digit or - ."}
	ErrSubscriptionLength   = &Error{400, "SubscriptionNameLengthError", "Subscription name length should between 1 and 256."}
	ErrEndpoint             = &Error{400, "EndpointInvalid", "The endpoint you provided is invalid."}
	ErrAccessDenied         = &Error{403, "AccessDenied", "The OwnerId that your Access Key Id associated to is forbidden for this operation."}
	ErrUnknownKey           = &Error{403, "InvalidAccessKeyId", "The AccessKey Id you provided is not exist."}
	ErrSignature            = &Error{403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method."}
	ErrQueueNotExist        = &Error{404, "QueueNotExist", "The queue name you provided is not exist."}
	ErrTopicNotExist        = &Error{404, "TopicNotExist", "The topic you provided does not exist."}
	ErrSubscriptionNotExist = &Error{404, "SubscriptionNotExist", "The subscription you provided does not exist."}
	ErrMessageNotExist      = &Error{404, "MessageNotExist", "Message not exist."}
	ErrTimeExpired          = &Error{408, "TimeExpired", "The http request you sent is expired."}
	ErrQueueExists          = &Error{409, "QueueAlreadyExist", "The queue you want to create is already exist."}
	ErrTopicExists          = &Error{409, "TopicAlreadyExist", "The topic you want to create is already exist."}
	ErrSubscriptionExists   = &Error{409, "SubscriptionAlreadyExist", "The subscription you want to create is already exist."}
	ErrInternal             = &Error{500, "InternalError", "Interal error."}
	// ErrUnavailable is not among the service's: the store could not be asked,
	// and nothing is known.
	ErrUnavailable = &Error{503, "ServiceUnavailable", "The service is unavailable for the moment, try again."}
)

// Malformed names the element that a request's body has wrong.
func Malformed(element string) *Error {
	return ErrInvalidArgument.With("The XML you provided did not validate against our published schema, cause by %s.", element)
}

// OutOfRange names the element and the bounds that its value does not keep.
func OutOfRange(element string, low, high int, unit string) *Error {
	if unit != "" {
		unit = " " + unit
	}
	return ErrInvalidArgument.With("The value of %s should between %d and %d%s.", element, low, high, unit)
}
