package mns_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

const poll30 = "/queues/q/messages?waitseconds=30"

func TestC23EmptyWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	got := r.wants(r.ask("GET", "/queues/q/messages?waitseconds=3", ""), 404, "MessageNotExist")
	if got.took < 3*time.Second || got.took > 3300*time.Millisecond {
		t.Errorf("a wait of 3 s took %v", got.took)
	}
	r.wants(r.ask("GET", "/queues/q/messages?waitseconds=31", ""), 400, "InvalidArgument")
	// A wait of 30 s is TestLongestWait's, in virtual time.
}

func TestC24SendWakes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	one := r.background(1, poll30)
	r.waiting(1, "q", 1)
	start := time.Now()
	r.send("q", "m", "")
	r.wants(<-one, 200, "")
	// 20 ms is what is wanted; the machine that runs the tests is busy.
	if took := time.Since(start); took > 200*time.Millisecond {
		t.Errorf("woken after %v", took)
	}
	r.wants(r.ask("DELETE", "/queues/q/messages?purge=true", ""), 204, "")

	var polls []chan *reply
	for range 100 {
		polls = append(polls, r.background(0, poll30))
	}
	r.waiting(0, "q", 100)
	r.send("q", "only", "")
	r.waiting(0, "q", 99)
	for i := range 99 {
		r.send("q", fmt.Sprint(i), "")
	}
	seen := map[string]bool{}
	for _, p := range polls {
		body := r.wants(<-p, 200, "").text("MessageBody")
		if seen[body] {
			t.Errorf("%s was received twice", body)
		}
		seen[body] = true
	}
	if len(seen) != 100 {
		t.Errorf("100 waits got %d messages", len(seen))
	}
}

func TestC25DueWakes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, q := range []string{"delay", "visibility", "shorter"} {
		r.createQueue(q, "<VisibilityTimeout>1</VisibilityTimeout>")
	}
	var running sync.WaitGroup
	expect := func(name, queue string, start time.Time) {
		running.Go(func() {
			got := r.askAt(1, "GET", "/queues/"+queue+"/messages?waitseconds=10", "")
			if took := time.Since(start); got.status != 200 || took < 990*time.Millisecond || took > 1600*time.Millisecond {
				t.Errorf("%s: %d after %v", name, got.status, took)
			}
		})
	}
	r.send("visibility", "m", "")
	start := time.Now()
	r.receive("visibility")
	expect("expired visibility", "visibility", start)
	r.send("shorter", "m", "")
	h := r.receive("shorter").text("ReceiptHandle")
	h = r.wants(r.ask("PUT", "/queues/shorter/messages?VisibilityTimeout=100&ReceiptHandle="+h, ""), 200, "").text("ReceiptHandle")
	expect("shortened visibility", "shorter", time.Now())
	r.waiting(1, "shorter", 1)
	r.wants(r.ask("PUT", "/queues/shorter/messages?VisibilityTimeout=1&ReceiptHandle="+h, ""), 200, "")
	expect("delay", "delay", time.Now())
	r.send("delay", "m", "<DelaySeconds>1</DelaySeconds>")
	running.Wait()
}

func TestC26BatchWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	p := r.background(1, poll30+"&numOfMessages=16")
	r.waiting(1, "q", 1)
	r.send("q", "m", "")
	got := r.wants(<-p, 200, "")
	if got.node.Name != "Messages" || len(got.node.Children) != 1 || got.took > 5*time.Second {
		t.Errorf("after %v: %s", got.took, got.body)
	}
}

func TestC27QueuesWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "<PollingWaitSeconds>1</PollingWaitSeconds>")
	if got := r.wants(r.ask("GET", "/queues/q/messages", ""), 404, "MessageNotExist"); got.took < time.Second || got.took > 1600*time.Millisecond {
		t.Errorf("without a parameter it took %v", got.took)
	}
	if got := r.wants(r.ask("GET", "/queues/q/messages?waitseconds=0", ""), 404, "MessageNotExist"); got.took > 900*time.Millisecond {
		t.Errorf("waitseconds=0 took %v", got.took)
	}
	r.createQueue("none", "")
	if got := r.wants(r.ask("GET", "/queues/none/messages", ""), 404, "MessageNotExist"); got.took > 900*time.Millisecond {
		t.Errorf("without a wait of the queue it took %v", got.took)
	}
}

func TestC28DeleteEndsWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	p := r.background(1, poll30)
	r.waiting(1, "q", 1)
	r.wants(r.ask("DELETE", "/queues/q", ""), 204, "")
	r.createQueue("q", "")
	r.send("q", "for others", "")
	if got := r.wants(<-p, 404, "QueueNotExist"); got.took > 5*time.Second {
		t.Errorf("the wait ended after %v", got.took)
	}
	if got := r.receive("q"); got.text("DequeueCount") != "1" {
		t.Errorf("the old wait was fed: %s", got.body)
	}
}

func TestC29LeftWaitLosesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "<VisibilityTimeout>1</VisibilityTimeout>")
	underWay := 0
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		request := newRequest(t, "GET", r.nodes[0].url+poll30, "").WithContext(ctx)
		left := make(chan struct{})
		go func() {
			defer close(left)
			if response, err := httpClient.Do(request); err == nil {
				_ = response.Body.Close()
			}
		}()
		r.waiting(0, "q", 1)
		// The client goes as the message comes; whichever is seen first.
		var sent sync.WaitGroup
		sent.Go(func() { r.send("q", "m", "") })
		cancel()
		sent.Wait()
		<-left
		r.waiting(0, "q", 0)
		got := r.wants(r.ask("GET", "/queues/q/messages?waitseconds=5", ""), 200, "")
		if got.text("DequeueCount") != "1" {
			underWay++ // the answer had left before the client did; the message comes again
		} else if got.took > 2*time.Second {
			t.Fatalf("after %v: %s", got.took, got.body)
		}
		r.wants(r.ask("DELETE", "/queues/q/messages?ReceiptHandle="+got.text("ReceiptHandle"), ""), 204, "")
	}
	if underWay > 10 {
		t.Errorf("%d of 20 messages were given to clients who had left", underWay)
	}
}

func TestC30IdleWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.createQueue("q", "")
	ctx, cancel := context.WithCancel(t.Context())
	var polls sync.WaitGroup
	defer polls.Wait()
	defer cancel()
	const idle = 1000
	for range idle {
		request := newRequest(t, "GET", r.nodes[1].url+poll30, "").WithContext(ctx)
		polls.Go(func() {
			if response, err := httpClient.Do(request); err == nil {
				_ = response.Body.Close()
			}
		})
	}
	r.waiting(1, "q", idle)
	before := r.nodes[1].server.Looks()
	<-time.After(2 * time.Second)
	if looks := r.nodes[1].server.Looks() - before; looks > 5 {
		t.Errorf("%d idle waits looked into the queue %d times in 2 s", idle, looks)
	}
	// One of them, at the other node, is fed at once.
	start := time.Now()
	r.send("q", "m", "")
	r.waiting(1, "q", idle-1)
	if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("fed after %v", took)
	}
}
