package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/danmaku"
	"github.com/faac1247/rollcall/mns/mnsclient"
)

// danmakuCommand runs the chat pipeline's worker: lines from a queue, judged
// and merged, to a topic.
type danmakuCommand struct {
	Queue string `required:"" help:"Where lines come from."`
	Topic string `required:"" help:"Where they go."`

	Endpoint string `env:"ROLLCALL_MNS_ENDPOINT" default:"http://127.0.0.1:8301" help:"The chat pipeline's door of any node."`
	Key      string `env:"ROLLCALL_MNS_WORKER_KEY" required:"" help:"id:secret."`

	Words     string        `help:"File of words that no line may hold, one a line." placeholder:"FILE"`
	Rate      string        `help:"Lines that one user may send, such as 3/s. No bound by default."`
	Merge     time.Duration `help:"For how long equal lines are merged into one with a count."`
	Check     string        `help:"URL that is asked what may be published."`
	LogLevel  string        `env:"ROLLCALL_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"debug, info, warn or error."`
	LogFormat string        `env:"ROLLCALL_LOG_FORMAT" default:"auto" enum:"auto,text,json" help:"text, json, or auto: text on a terminal."`
}

// Run works until the first signal, then publishes what it holds.
func (c *danmakuCommand) Run(ctx context.Context, p *program) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.terminate:
			cancel()
		case <-ctx.Done():
		}
	}()
	cfg, err := c.config(p)
	if err != nil {
		return &usageError{err}
	}
	id, secret, ok := strings.Cut(c.Key, ":")
	if !ok {
		return &usageError{fmt.Errorf("key is not of the form id:secret")}
	}
	client, err := mnsclient.New(mnsclient.Config{Endpoint: c.Endpoint, KeyID: id, Secret: secret})
	if err != nil {
		return &usageError{err}
	}
	defer client.Close()
	cfg.Pipeline = client
	worker, err := danmaku.New(cfg)
	if err != nil {
		return &usageError{err}
	}
	return worker.Run(ctx)
}

// config reads the worker's settings, but for its connection.
func (c *danmakuCommand) config(p *program) (danmaku.Config, error) {
	cfg := danmaku.Config{
		Queue: chat.QueueName(c.Queue), Topic: chat.TopicName(c.Topic), Merge: c.Merge, Check: c.Check,
		Logger: logger(p.stderr, c.LogLevel, c.LogFormat),
	}
	var err error
	if c.Rate != "" {
		if cfg.Rate, err = danmaku.ParseRate(c.Rate); err != nil {
			return cfg, err
		}
	}
	if c.Words == "" {
		return cfg, nil
	}
	f, err := os.Open(c.Words)
	if err != nil {
		return cfg, fmt.Errorf("words: %w", err)
	}
	defer func() { _ = f.Close() }()
	if cfg.Words, err = danmaku.ReadWords(f); err != nil {
		return cfg, fmt.Errorf("words: %w", err)
	}
	return cfg, nil
}
