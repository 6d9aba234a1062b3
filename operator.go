package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// adminAccess is how an operator's command reaches a node.
type adminAccess struct {
	Admin    string `env:"ROLLCALL_ADMIN" default:"127.0.0.1:8201" help:"The node's admin address."`
	AdminKey string `name:"admin-key" env:"ROLLCALL_ADMIN_KEY" help:"Its key."`
	JSON     bool   `name:"json" help:"Print JSON, as also when the output is not a terminal."`
}

// operatorTimeout bounds one request of an operator's command.
const operatorTimeout = 10 * time.Second

func (a *adminAccess) request(ctx context.Context, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	base := a.Admin
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+path, nil)
	if err != nil {
		return nil, &usageError{fmt.Errorf("admin %q: use host:port", a.Admin)}
	}
	if a.AdminKey != "" {
		req.Header.Set("Authorization", "Bearer "+a.AdminKey)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no node answers at %s: %w", a.Admin, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", a.Admin, err)
	}
	if resp.StatusCode >= 300 {
		return nil, refusal(resp.Status, body)
	}
	return body, nil
}

// refusal is what a node said instead of an answer.
func refusal(status string, body []byte) error {
	var e struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal(body, &e) == nil && e.Error.Code != "" {
		return fmt.Errorf("%s: %s", e.Error.Code, e.Error.Message)
	}
	return fmt.Errorf("%s: %s", status, strings.TrimSpace(string(body)))
}

// show prints the answer: as a table for people, as it is for programs.
func (a *adminAccess) show(p *program, body []byte, table func(*tabwriter.Writer) error) error {
	f, isFile := p.stdout.(*os.File)
	if a.JSON || !isFile || !term.IsTerminal(int(f.Fd())) {
		var b bytes.Buffer
		if err := json.Indent(&b, body, "", "  "); err != nil {
			return fmt.Errorf("the answer is not JSON: %w", err)
		}
		_, err := fmt.Fprintln(p.stdout, b.String())
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	if err := table(w); err != nil {
		return err
	}
	return w.Flush()
}

type statusCommand struct {
	Access adminAccess `embed:""`
}

func (c *statusCommand) Run(ctx context.Context, p *program) error {
	body, err := c.Access.request(ctx, http.MethodGet, "/v1/cluster")
	if err != nil {
		return err
	}
	var view struct {
		Node    string
		Digest  string
		Members []struct {
			Node, State, Digest string
			EndPoint            string `json:"end_point"`
			Partitions          int
			Connections         int
			Since               time.Time
		}
	}
	return c.Access.show(p, body, func(w *tabwriter.Writer) error {
		if err := json.Unmarshal(body, &view); err != nil {
			return fmt.Errorf("answer not understood: %w", err)
		}
		fmt.Fprintln(w, "NODE\tSTATE\tPARTITIONS\tCONNECTIONS\tRING\tEND POINT\tSINCE")
		for _, m := range view.Members {
			agrees := "agrees"
			if m.Digest != view.Digest {
				agrees = "differs"
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", m.Node, m.State, m.Partitions, m.Connections, agrees, m.EndPoint, ago(m.Since))
		}
		return nil
	})
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return time.Since(t).Round(time.Second).String()
}

type roomCommand struct {
	Room   string      `arg:"" help:"The room's id."`
	Access adminAccess `embed:""`
}

func (c *roomCommand) Run(ctx context.Context, p *program) error {
	body, err := c.Access.request(ctx, http.MethodGet, "/v1/rooms/"+url.PathEscape(c.Room))
	if err != nil {
		return err
	}
	var view struct {
		Node      string
		Epoch     uint64
		Seq       uint64
		Count     int
		Occupants []struct {
			UserID   int64 `json:"user_id"`
			Nickname string
			Role     string
			Seat     int
			Online   bool
			Since    time.Time
		}
		Next string
	}
	return c.Access.show(p, body, func(w *tabwriter.Writer) error {
		if err := json.Unmarshal(body, &view); err != nil {
			return fmt.Errorf("answer not understood: %w", err)
		}
		fmt.Fprintf(w, "owner %s, epoch %d, seq %d, %d occupants\n\n", view.Node, view.Epoch, view.Seq, view.Count)
		fmt.Fprintln(w, "USER\tNICKNAME\tROLE\tSEAT\tONLINE\tSINCE")
		for _, o := range view.Occupants {
			fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%t\t%s\n", o.UserID, o.Nickname, o.Role, o.Seat, o.Online, ago(o.Since))
		}
		if view.Next != "" {
			fmt.Fprintf(w, "and more after %s\n", view.Next)
		}
		return nil
	})
}

type userCommand struct {
	User     int64       `arg:"" help:"The user's id."`
	Timeline bool        `help:"Why the user is there: the last removal, and what the edge remembers."`
	Access   adminAccess `embed:""`
}

func (c *userCommand) Run(ctx context.Context, p *program) error {
	path := fmt.Sprintf("/v1/users/%d", c.User)
	if c.Timeline {
		path += "/timeline"
	}
	body, err := c.Access.request(ctx, http.MethodGet, path)
	if err != nil {
		return err
	}
	if c.Timeline {
		return c.Access.show(p, body, func(w *tabwriter.Writer) error { return timelineTable(w, body) })
	}
	return c.Access.show(p, body, func(w *tabwriter.Writer) error {
		var u map[string]any
		if err := json.Unmarshal(body, &u); err != nil {
			return fmt.Errorf("answer not understood: %w", err)
		}
		for _, key := range []string{"user_id", "online", "node", "current_room_id", "seat", "call_no", "since"} {
			fmt.Fprintf(w, "%s\t%v\n", key, u[key])
		}
		return nil
	})
}

func timelineTable(w *tabwriter.Writer, body []byte) error {
	var t struct {
		Removal *struct {
			RoomID string `json:"room_id"`
			Call   string
			Reason string
			By     string
			At     time.Time
		}
		Node   string
		Events []struct {
			At     time.Time
			Event  string
			RoomID string `json:"room_id"`
			Reason string
		}
	}
	if err := json.Unmarshal(body, &t); err != nil {
		return fmt.Errorf("answer not understood: %w", err)
	}
	if r := t.Removal; r != nil {
		fmt.Fprintf(w, "last removal: %s%s, %s, by %s at %s\n\n", r.RoomID, r.Call, r.Reason, r.By, r.At.Format(time.RFC3339))
	}
	fmt.Fprintf(w, "AT\tEVENT\tROOM\tREASON\t(remembered by %s)\n", t.Node)
	for _, e := range t.Events {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.At.Format(time.RFC3339), e.Event, e.RoomID, e.Reason)
	}
	return nil
}

type drainCommand struct {
	Access adminAccess `embed:""`
}

func (c *drainCommand) Run(ctx context.Context, p *program) error {
	if _, err := c.Access.request(ctx, http.MethodPost, "/drain"); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, "the node is draining; it leaves and exits by itself")
	return nil
}
