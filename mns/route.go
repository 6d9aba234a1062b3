package mns

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/faac1247/rollcall/mns/chat"
)

// operation is one call of the interface.
type operation struct {
	name  string // in metrics
	right Right  // any of these; 0: the operation looks itself
	serve func(*Server, *call) error
}

// The operations.
var (
	opListQueues        = operation{"ListQueue", 0, (*Server).listQueues}
	opCreateQueue       = operation{"CreateQueue", RightManage, (*Server).createQueue}
	opSetQueue          = operation{"SetQueueAttributes", RightManage, (*Server).setQueue}
	opGetQueue          = operation{"GetQueueAttributes", RightManage | RightSend | RightReceive, (*Server).getQueue}
	opDeleteQueue       = operation{"DeleteQueue", RightManage, (*Server).deleteQueue}
	opSend              = operation{"SendMessage", RightSend, (*Server).sendMessage}
	opReceive           = operation{"ReceiveMessage", RightReceive, (*Server).receiveMessage}
	opPeek              = operation{"PeekMessage", RightReceive, (*Server).peekMessage}
	opDelete            = operation{"DeleteMessage", RightReceive, (*Server).deleteMessage}
	opVisibility        = operation{"ChangeMessageVisibility", RightReceive, (*Server).changeVisibility}
	opPurge             = operation{"PurgeQueue", RightManage, (*Server).purgeQueue}
	opListTopics        = operation{"ListTopic", 0, (*Server).listTopics}
	opCreateTopic       = operation{"CreateTopic", RightManage, (*Server).createTopic}
	opSetTopic          = operation{"SetTopicAttributes", RightManage, (*Server).setTopic}
	opGetTopic          = operation{"GetTopicAttributes", RightManage | RightPublish | RightReceive, (*Server).getTopic}
	opDeleteTopic       = operation{"DeleteTopic", RightManage, (*Server).deleteTopic}
	opPublish           = operation{"PublishMessage", RightPublish, (*Server).publishMessage}
	opListSubscriptions = operation{"ListSubscriptionByTopic", RightManage, (*Server).listSubscriptions}
	opSubscribe         = operation{"Subscribe", RightManage, (*Server).subscribe}
	opSetSubscription   = operation{"SetSubscriptionAttributes", RightManage, (*Server).setSubscription}
	opGetSubscription   = operation{"GetSubscriptionAttributes", RightManage | RightReceive, (*Server).getSubscription}
	opUnsubscribe       = operation{"Unsubscribe", RightManage, (*Server).unsubscribe}
	opGetAccount        = operation{"GetAccountAttributes", RightManage, (*Server).getAccount}
	opSetAccount        = operation{"SetAccountAttributes", RightManage, (*Server).setAccount}
	opAccountID         = operation{"GetAccount", RightManage, (*Server).accountID}
	opOpenService       = operation{"OpenService", RightManage, (*Server).openService}
	opSocket            = operation{"websocket", 0, nil}
	opUnknown           = operation{"unknown", 0, nil}
)

// names are what a request's path names.
type names struct {
	queue        chat.QueueName
	topic        chat.TopicName
	subscription chat.SubscriptionName
}

func (n names) target() target {
	if n.topic != "" {
		return target{topics: true, name: string(n.topic)}
	}
	return target{name: string(n.queue)}
}

// route finds the operation that a request asks for.
func route(method, path string, q query) (operation, names, error) {
	parts, err := split(path)
	if err != nil {
		return opUnknown, names{}, err
	}
	switch {
	case len(parts) == 0:
		return known(routeAccount(method, q), names{})
	case parts[0] == "queues":
		return routeQueue(method, parts[1:], q)
	case parts[0] == "topics":
		return routeTopic(method, parts[1:], q)
	case len(parts) == 2 && parts[0] == "commonbuy" && parts[1] == "openservice":
		return known(byMethod(method, methods{http.MethodPost: opOpenService}), names{})
	default:
		return opUnknown, names{}, chat.ErrInvalidURL
	}
}

// maxParts is how many parts the longest path has.
const maxParts = 4

// split returns the parts of a path. A doubled slash before the first is let
// pass.
func split(path string) ([]string, error) {
	path = strings.Trim(path, "/")
	if path == "" {
		return nil, nil
	}
	parts := strings.SplitN(path, "/", maxParts+1)
	if len(parts) > maxParts {
		return nil, chat.ErrInvalidURL
	}
	for i, p := range parts {
		if strings.IndexByte(p, '%') < 0 {
			continue
		}
		decoded, err := url.PathUnescape(p)
		if err != nil {
			return nil, chat.ErrInvalidURL
		}
		parts[i] = decoded
	}
	return parts, nil
}

type methods map[string]operation

func byMethod(method string, m methods) operation {
	if op, ok := m[method]; ok {
		return op
	}
	return opUnknown
}

func known(op operation, n names) (operation, names, error) {
	if op.serve == nil {
		return opUnknown, n, chat.ErrInvalidURL
	}
	return op, n, nil
}

func routeAccount(method string, q query) operation {
	switch {
	case q.has("accountmeta"):
		return byMethod(method, methods{http.MethodGet: opGetAccount, http.MethodPut: opSetAccount})
	case q.has("account"):
		return byMethod(method, methods{http.MethodGet: opAccountID})
	default:
		return opUnknown
	}
}

func routeQueue(method string, parts []string, q query) (operation, names, error) {
	if len(parts) == 0 {
		return known(byMethod(method, methods{http.MethodGet: opListQueues}), names{})
	}
	n := names{queue: chat.QueueName(parts[0])}
	if err := n.queue.Check(); err != nil {
		return opUnknown, n, err
	}
	switch {
	case len(parts) == 1:
		return known(queueOperation(method, q), n)
	case len(parts) == 2 && parts[1] == "messages":
		return known(messageOperation(method, q), n)
	default:
		return opUnknown, n, chat.ErrInvalidURL
	}
}

func queueOperation(method string, q query) operation {
	switch method {
	case http.MethodPut:
		if q.bool("metaoverride") {
			return opSetQueue
		}
		return opCreateQueue
	case http.MethodGet:
		return opGetQueue
	case http.MethodDelete:
		return opDeleteQueue
	default:
		return opUnknown
	}
}

func messageOperation(method string, q query) operation {
	switch method {
	case http.MethodPost:
		return opSend
	case http.MethodGet:
		if q.bool("peekonly") {
			return opPeek
		}
		return opReceive
	case http.MethodDelete:
		if q.bool("purge") {
			return opPurge
		}
		return opDelete
	case http.MethodPut:
		return opVisibility
	default:
		return opUnknown
	}
}

func routeTopic(method string, parts []string, q query) (operation, names, error) {
	if len(parts) == 0 {
		return known(byMethod(method, methods{http.MethodGet: opListTopics}), names{})
	}
	n := names{topic: chat.TopicName(parts[0])}
	if err := n.topic.Check(); err != nil {
		return opUnknown, n, err
	}
	switch {
	case len(parts) == 1:
		return known(topicOperation(method, q), n)
	case len(parts) == 2 && parts[1] == "messages":
		if method == http.MethodPost {
			return opPublish, n, nil
		}
		return opUnknown, n, chat.ErrInvalidURL
	case len(parts) == 2 && parts[1] == "subscriptions":
		return known(byMethod(method, methods{http.MethodGet: opListSubscriptions}), n)
	case len(parts) == 3 && parts[1] == "subscriptions":
		n.subscription = chat.SubscriptionName(parts[2])
		if err := n.subscription.Check(); err != nil {
			return opUnknown, n, err
		}
		return known(subscriptionOperation(method, q), n)
	default:
		return opUnknown, n, chat.ErrInvalidURL
	}
}

func topicOperation(method string, q query) operation {
	if method == http.MethodPut && q.bool("metaoverride") {
		return opSetTopic
	}
	return byMethod(method, methods{
		http.MethodPut: opCreateTopic, http.MethodGet: opGetTopic, http.MethodDelete: opDeleteTopic,
	})
}

func subscriptionOperation(method string, q query) operation {
	if method == http.MethodPut && q.bool("metaoverride") {
		return opSetSubscription
	}
	return byMethod(method, methods{
		http.MethodPut: opSubscribe, http.MethodGet: opGetSubscription, http.MethodDelete: opUnsubscribe,
	})
}
