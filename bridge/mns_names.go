package bridge

import (
	"context"
	"fmt"

	"github.com/faac1247/rollcall/mns/chat"
)

// The lists of queues and topics live apart from them, as a Cluster keeps what
// belongs together in one slot. A name enters its list before the thing exists
// and leaves it after the thing is gone:
//
//  1. A deletes the queue
//  2. B creates it anew, and lists it
//  3. A takes it off the list
//
// so A looks once more in the end, and lists it again. A name without a thing
// may remain after a crash; it is not shown.

func (m *MNS) register(ctx context.Context, list, name string) error {
	c, err := m.plain(ctx, "zadd", m.registry(list), 0, name)
	if err == nil {
		err = c.fail()
	}
	if err != nil {
		return fmt.Errorf("list %q: %w", name, err)
	}
	return nil
}

func (m *MNS) unregister(ctx context.Context, list, name, tag string) error {
	c, err := m.plain(ctx, "zrem", m.registry(list), name)
	if err == nil {
		err = c.fail()
	}
	if err != nil {
		return fmt.Errorf("take %q off the list: %w", name, err)
	}
	there, err := m.exists(ctx, []string{tag})
	if err != nil || !there[0] {
		return err
	}
	return m.register(ctx, list, name)
}

// exists reports of each thing, by its tag, whether it is there.
func (m *MNS) exists(ctx context.Context, tags []string) ([]bool, error) {
	commands := make([]*command, len(tags))
	for i, tag := range tags {
		commands[i] = &command{name: "exists", keys: m.keys(tag, "a")}
	}
	if err := m.lane.do(ctx, commands...); err != nil {
		return nil, err
	}
	there := make([]bool, len(tags))
	for i, c := range commands {
		n, err := c.int()
		if err != nil {
			return nil, err
		}
		there[i] = n == 1
	}
	return there, nil
}

// page returns a page of a list, less the names of what is not there.
func (m *MNS) page(ctx context.Context, list string, p chat.Page, tag func(name string) string) ([]string, bool, error) {
	var names []string
	for {
		batch, last, err := m.pageOnce(ctx, list, p, p.Limit+1-len(names), tag)
		if err != nil {
			return nil, false, err
		}
		names = append(names, batch...)
		if len(names) > p.Limit {
			return names[:p.Limit], true, nil
		}
		if last == "" {
			return names, false, nil
		}
		p.After = last
	}
}

// pageOnce looks at n names, and returns the last of them if there may be more.
func (m *MNS) pageOnce(ctx context.Context, list string, p chat.Page, n int, tag func(string) string) (names []string, last string, err error) {
	from := "[" + p.Prefix
	if p.After >= p.Prefix && p.After != "" {
		from = "(" + p.After
	}
	to := "+"
	if p.Prefix != "" {
		to = "(" + p.Prefix + "\xff"
	}
	c, err := m.plain(ctx, "zrangebylex", m.registry(list), from, to, "limit", 0, n)
	if err != nil {
		return nil, "", err
	}
	f, err := c.list()
	if err != nil {
		return nil, "", fmt.Errorf("list names: %w", err)
	}
	all := make([]string, f.len())
	for i := range all {
		all[i] = tag(f.text(i))
	}
	if f.err != nil || len(all) == 0 {
		return nil, "", f.err
	}
	there, err := m.exists(ctx, all)
	if err != nil {
		return nil, "", err
	}
	for i, ok := range there {
		if ok {
			names = append(names, f.text(i))
		}
	}
	if f.len() == n {
		last = f.text(n - 1)
	}
	return names, last, f.err
}

// LoggingBucket returns the account's setting.
func (m *MNS) LoggingBucket(ctx context.Context) (string, error) {
	c, err := m.plain(ctx, "hmget", m.registry("c"), "bucket")
	if err != nil {
		return "", err
	}
	f, err := c.list()
	if err != nil || f.len() != 1 || f.values[0] == nil {
		return "", err
	}
	return f.text(0), f.err
}

// SetLoggingBucket sets it.
func (m *MNS) SetLoggingBucket(ctx context.Context, bucket string) error {
	c, err := m.plain(ctx, "hset", m.registry("c"), "bucket", bucket)
	if err != nil {
		return err
	}
	return c.fail()
}
