package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Headers of a post.
const (
	// SignatureHeader says when the post was made and proves it with the key.
	SignatureHeader = "X-Rollcall-Signature"
	// PartitionHeader names the outbox. Posts of one partition come one after
	// another.
	PartitionHeader = "X-Rollcall-Partition"
)

// Sign returns the signature header of a body that is posted at a Unix time.
func Sign(key string, at int64, body []byte) string {
	t := strconv.FormatInt(at, 10)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// batch is what goes into one post.
type batch struct {
	body []byte
	// last is the id of the last event that the batch settles.
	last string
	// events and missed count what the body tells; malformed what it leaves
	// out because no JSON could hold it.
	events    int
	missed    int64
	malformed int
	// entries is how many of the outbox's the batch settles.
	entries int
}

// newBatch puts the first of the entries together, as many as fit. There is at
// least one.
func newBatch(entries []protocol.OutboxEntry, gap int64, most int) batch {
	b := batch{missed: gap, body: []byte(`{"events":[`)}
	if gap > 0 {
		b.body = append(b.body, `{"event":"gap","missed":`...)
		b.body = append(strconv.AppendInt(b.body, gap, 10), '}')
	}
	for _, e := range entries {
		if b.entries > 0 && len(b.body)+len(e.Event) > most {
			break
		}
		b.entries++
		b.last = e.ID
		if !json.Valid(e.Event) {
			b.malformed++
			continue
		}
		if b.events > 0 || gap > 0 {
			b.body = append(b.body, ',')
		}
		b.events++
		b.body = append(b.body, e.Event...)
	}
	b.body = append(b.body, `]}`...)
	return b
}

// empty reports whether the batch has nothing to tell.
func (b batch) empty() bool { return b.events == 0 && b.missed == 0 }

// refusedError is an answer that does not take a post.
type refusedError struct {
	status string
	// after is the pause that the receiver asks for, 0 for none.
	after time.Duration
}

func (e *refusedError) Error() string { return "receiver answered " + e.status }

// maxAnswer bounds what is read of an answer so that its connection can be
// used again.
const maxAnswer = 64 << 10

// post makes one post. It fails unless the receiver takes it.
func (p *Poster) post(ctx context.Context, id protocol.PartitionID, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make post: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "rollcall")
	r.Header.Set(PartitionHeader, strconv.Itoa(int(id)))
	if p.cfg.Key != "" {
		r.Header.Set(SignatureHeader, Sign(p.cfg.Key, time.Now().Unix(), body))
	}
	resp, err := p.client.Do(r)
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // the address may have a secret in it
	}
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // only to use the connection again
	if resp.StatusCode/100 != 2 {
		return &refusedError{status: resp.Status, after: retryAfter(resp)}
	}
	return nil
}

// retryAfter returns the pause that an answer asks for in seconds, 0 for none.
func retryAfter(resp *http.Response) time.Duration {
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	const most = 24 * 60 * 60
	return time.Duration(min(n, most)) * time.Second
}
