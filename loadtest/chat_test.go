package main

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/memory"
)

// newPipeline runs a real chat pipeline in memory.
func newPipeline(t *testing.T) *httptest.Server {
	t.Helper()
	chat, err := mns.New(mns.Config{Store: memory.New().Node("n1"), Keys: []mns.Key{{ID: "dev", Secret: "dev"}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = chat.Run(ctx) }()
	server := httptest.NewServer(chat)
	t.Cleanup(func() { server.Close(); cancel(); <-done })
	return server
}

func TestLinesReachEveryViewer(t *testing.T) {
	t.Parallel()
	set := newFake(t).settings("danmaku", 10)
	set.MNS, set.MNSKey, set.Processes = newPipeline(t).URL, "dev:dev", 2
	res := mustLoad(t, set)
	if sent := res.count(cSent); !res.Passed || sent < 50 || res.count(cDelivered) != 10*sent || res.count(cErrors) != 0 {
		t.Errorf("%d sent, %d delivered, %+v, notes %v", sent, res.count(cDelivered), res.Verdicts, res.Notes)
	}
}

func TestPipelineThatRefuses(t *testing.T) {
	t.Parallel()
	set := newFake(t).settings("danmaku", 10)
	set.MNS, set.MNSKey = newPipeline(t).URL, "dev:wrong"
	_, err := load(t.Context(), set, &progress{out: &strings.Builder{}})
	if err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("%v", err)
	}
}
