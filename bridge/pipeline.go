package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// maxPipeline and maxPipelineBytes bound one exchange, so that it fits the
	// timeout and does not hold up other connections' commands for long.
	maxPipeline      = 512
	maxPipelineBytes = 1 << 20
)

// command is one script call or plain command on its way to the server and,
// after exec, its answer.
type command struct {
	script *script // nil for a plain command
	name   string  // of a plain command
	keys   []string
	args   []any
	// answer is how many bytes of answer to expect, beyond a few.
	answer int
	// keyless: the plain command's keys are not what it is routed by.
	keyless bool
	// prepare, if set, completes the command just before it leaves.
	prepare func()

	reply *redis.Cmd
	err   error
}

// call returns a script call.
func (r *Redis) call(s *script, keys []string, args ...any) *command {
	return &command{script: s, keys: keys, args: args}
}

// once is a command that go-redis must not repeat on its own.
type once struct{ *redis.Cmd }

// NoRetry keeps the library from repeating a whole pipeline.
func (once) NoRetry() bool { return true }

// build returns what go-redis sends. whole sends a script's source instead of
// its hash.
func (c *command) build(ctx context.Context, whole bool) redis.Cmder {
	args := make([]any, 0, 3+len(c.keys)+len(c.args))
	first := int8(1)
	switch {
	case c.script == nil:
		args = append(args, c.name)
	case whole:
		args = append(args, "eval", c.script.source, len(c.keys))
		first = 3
	default:
		args = append(args, "evalsha", c.script.sha, len(c.keys))
		first = 3
	}
	for _, k := range c.keys {
		args = append(args, k)
	}
	args = append(args, c.args...)
	c.reply, c.err = redis.NewCmd(ctx, args...), nil
	if !c.keyless {
		c.reply.SetFirstKeyPos(first)
	}
	return once{c.reply}
}

// size estimates the bytes of a command and its answer.
func (c *command) size() int {
	n := 64 + c.answer
	for _, a := range c.args {
		switch a := a.(type) {
		case string:
			n += len(a)
		case []byte:
			n += len(a)
		default:
			n += 8
		}
	}
	return n
}

// exec sends commands and waits for the answers, which it leaves in them.
// Commands of one partition take effect in order. A script that the server does
// not know is sent as source in a second round; the other commands are not sent
// again.
func (r *Redis) exec(ctx context.Context, commands []*command) {
	for _, c := range commands {
		if c.prepare != nil {
			c.prepare()
		}
	}
	r.round(ctx, commands, false)
	var unknown []*command
	for _, c := range commands {
		if c.script != nil && redis.HasErrorPrefix(c.err, "NOSCRIPT") {
			unknown = append(unknown, c)
		}
	}
	if len(unknown) > 0 {
		r.metrics.sources.Add(float64(len(unknown)))
		r.round(ctx, unknown, true)
	}
}

// round sends commands in as few pipelines as the bounds allow.
func (r *Redis) round(ctx context.Context, commands []*command, whole bool) {
	for len(commands) > 0 {
		n, bytes := 0, 0
		for n < len(commands) && n < maxPipeline && bytes < maxPipelineBytes {
			bytes += commands[n].size()
			n++
		}
		r.pipeline(ctx, commands[:n], whole)
		commands = commands[n:]
	}
}

func (r *Redis) pipeline(ctx context.Context, commands []*command, whole bool) {
	pipe := r.client.Pipeline()
	for _, c := range commands {
		_ = pipe.Process(ctx, c.build(ctx, whole))
	}
	_, failure := pipe.Exec(ctx)
	r.metrics.pipelines.Inc()
	r.metrics.commands.Add(float64(len(commands)))
	for _, c := range commands {
		c.err = c.reply.Err()
		if c.err == nil && c.reply.Val() == nil && failure != nil {
			c.err = failure // given up before its answer was read
		}
		if errors.Is(c.err, redis.Nil) {
			c.err = nil
		}
	}
}

// fail returns the command's error as callers get it.
func (c *command) fail() error {
	if c.err == nil {
		return nil
	}
	if strings.Contains(c.err.Error(), "in an unknown format") {
		return c.err
	}
	return fmt.Errorf("%w: %w", protocol.ErrStoreAway, c.err)
}

// int returns an integer answer.
func (c *command) int() (int64, error) {
	if err := c.fail(); err != nil {
		return 0, err
	}
	f := fields{values: []any{c.reply.Val()}}
	return f.int(0), f.err
}

// text returns a string answer.
func (c *command) text() (string, error) {
	if err := c.fail(); err != nil {
		return "", err
	}
	f := fields{values: []any{c.reply.Val()}}
	return f.text(0), f.err
}

// list returns the fields of an array answer.
func (c *command) list() (*fields, error) {
	if err := c.fail(); err != nil {
		return nil, err
	}
	f := fields{values: []any{c.reply.Val()}}
	return f.list(0), f.err
}

// fields reads an array answer. The first field that is not of the expected
// type is kept as err, and zero values are returned from then on.
type fields struct {
	values []any
	err    error
}

func (f *fields) len() int { return len(f.values) }

func (f *fields) wrong(i int) {
	if f.err != nil {
		return
	}
	if i >= len(f.values) {
		f.err = fmt.Errorf("the store's answer has %d fields, not %d", len(f.values), i+1)
		return
	}
	f.err = fmt.Errorf("field %d of the store's answer is a %T", i, f.values[i])
}

func field[T any](f *fields, i int) (zero T) {
	if i < len(f.values) {
		if v, ok := f.values[i].(T); ok {
			return v
		}
	}
	f.wrong(i)
	return zero
}

func (f *fields) int(i int) int64   { return field[int64](f, i) }
func (f *fields) text(i int) string { return field[string](f, i) }

func (f *fields) list(i int) *fields {
	return &fields{values: field[[]any](f, i), err: f.err}
}
