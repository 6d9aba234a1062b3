package danmaku

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/mnsclient"
)

// Pipeline is the chat pipeline as the worker uses it; *mnsclient.Client is one.
type Pipeline interface {
	Source
	Sink
}

// Source is where lines come from.
type Source interface {
	Queue(ctx context.Context, q chat.QueueName) (chat.Queue, error)
	Receive(ctx context.Context, q chat.QueueName, n int, wait time.Duration) ([]mnsclient.Message, error)
	Delete(ctx context.Context, q chat.QueueName, handles []string) (map[string]*chat.Error, error)
}

// Sink is where lines go.
type Sink interface {
	Publish(ctx context.Context, t chat.TopicName, p mnsclient.Publication) (chat.MessageID, error)
}

// Rate is so many lines in so long.
type Rate struct {
	Lines int
	Per   time.Duration
}

// ParseRate reads a rate such as 3/s, 100/m or 5/10s.
func ParseRate(text string) (Rate, error) {
	lines, per, ok := strings.Cut(text, "/")
	n, err := strconv.Atoi(lines)
	if !ok || err != nil || n < 0 {
		return Rate{}, fmt.Errorf("rate %q is not of the form 3/s", text)
	}
	if per != "" && (per[0] < '0' || per[0] > '9') {
		per = "1" + per
	}
	d, err := time.ParseDuration(per)
	if err != nil || d <= 0 {
		return Rate{}, fmt.Errorf("rate %q is not of the form 3/s", text)
	}
	return Rate{n, d}, nil
}

// Config of a Worker. Pipeline, Queue and Topic are required; zero values of the
// rest work.
type Config struct {
	Pipeline Pipeline
	Queue    chat.QueueName
	Topic    chat.TopicName

	// Words are those that no line may hold, in any case, width or spacing.
	Words []string
	// Rate bounds the lines of one user. The zero value does not.
	Rate Rate
	// MaxUsers bounds the users whose rate is kept, 100,000 by default; over it
	// those who were silent longest are forgotten.
	MaxUsers int
	// Merge is for how long a line waits for equal ones, at least as long as
	// the first of them; 0 publishes each line by itself.
	Merge time.Duration
	// Check, if set, is asked what may be published, within CheckTimeout, 500 ms
	// by default. Should it fail, lines pass, or with CheckStrict are dropped.
	Check        string
	CheckTimeout time.Duration
	CheckStrict  bool

	// TextPaths and UserPaths are where a line's text and user are if its body
	// is a JSON object: names with dots between, the first that is there counts.
	// A body that is none is the text, and has no user.
	TextPaths, UserPaths []string
	// CountField, count by default, is added to the JSON object of a line that
	// stands for several; to another body " ×n" is.
	CountField string

	// Receivers is how many long polls run at once, 2 by default, Publishers how
	// many publications, 8. With more than one, lines may overtake each other.
	Receivers, Publishers int
	// MaxHeld bounds the lines that are received and not deleted yet, 10,000 by
	// default; over it none are received.
	MaxHeld int
	// DrainTimeout is how long Run publishes on after its context has ended, 5 s
	// by default.
	DrainTimeout time.Duration

	// HTTP makes the requests to Check.
	HTTP       *http.Client
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	c.MaxUsers = cmp.Or(c.MaxUsers, 100_000)
	c.CheckTimeout = cmp.Or(c.CheckTimeout, 500*time.Millisecond)
	c.CountField = cmp.Or(c.CountField, "count")
	c.Receivers = cmp.Or(c.Receivers, 2)
	c.Publishers = cmp.Or(c.Publishers, 8)
	c.MaxHeld = cmp.Or(c.MaxHeld, 10_000)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 5*time.Second)
	if c.TextPaths == nil {
		c.TextPaths = []string{"text", "content", "data.text", "data.content", "data.comment"}
	}
	if c.UserPaths == nil {
		c.UserPaths = []string{"user_id", "userId", "uid", "data.user_id", "data.userId", "data.uid"}
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf("danmaku: "+format, args...))
		}
	}
	bad(c.Pipeline == nil, "no pipeline")
	bad(c.Queue.Check() != nil, "queue %q is no name", c.Queue)
	bad(c.Topic.Check() != nil, "topic %q is no name", c.Topic)
	bad(c.Rate.Lines < 0 || c.Rate.Lines > 0 && c.Rate.Per <= 0, "rate %d in %v", c.Rate.Lines, c.Rate.Per)
	bad(c.Merge < 0 || c.Merge > time.Minute, "merge window %v is not within 0 to 1m", c.Merge)
	if c.Check != "" {
		u, err := url.Parse(c.Check)
		bad(err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https", "check %q is no http address", c.Check)
	}
	bad(c.CheckTimeout < 0 || c.DrainTimeout < 0, "a timeout is negative")
	bad(c.Receivers < 1 || c.Publishers < 1 || c.MaxHeld < chat.MaxBatch || c.MaxUsers < 1, "a limit is too small")
	if _, err := newWords(c.Words); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
