package danmaku

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/faac1247/rollcall/mns/chat"
)

// checkRequest is what the operator's check is asked, checkAnswer what it says.
type checkRequest struct {
	Lines []checkLine `json:"lines"`
}

type checkLine struct {
	ID    chat.MessageID `json:"id"`
	User  string         `json:"user,omitempty"`
	Text  string         `json:"text"`
	Body  string         `json:"body"`
	Count int            `json:"count"`
}

type checkAnswer struct {
	// Drop are the ids of lines that are not to be published.
	Drop []chat.MessageID `json:"drop"`
}

// maxCheckAnswer bounds what is read of an answer.
const maxCheckAnswer = 1 << 20

// check asks which of the groups may be published.
func (w *Worker) check(ctx context.Context, groups []*group) (drop map[chat.MessageID]bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.CheckTimeout)
	defer cancel()
	var ask checkRequest
	for _, g := range groups {
		l := &g.lines[0]
		ask.Lines = append(ask.Lines, checkLine{l.id, l.user, l.text, l.body, len(g.lines)})
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, fmt.Errorf("ask check: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.Check, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask check: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := w.cfg.HTTP.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask check: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxCheckAnswer))
	if err != nil {
		return nil, fmt.Errorf("ask check: %w", err)
	}
	if response.StatusCode == http.StatusNoContent {
		return nil, nil
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask check: answered %s", response.Status)
	}
	var answer checkAnswer
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("ask check: %w", err)
	}
	drop = map[chat.MessageID]bool{}
	for _, id := range answer.Drop {
		drop[id] = true
	}
	return drop, nil
}
