package gossip

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"sync/atomic"
	"time"
)

// maxComplaints bounds the warnings a second that are passed on: an unreachable
// network makes memberlist repeat itself at every gossip.
const maxComplaints = 10

// lineLogger passes memberlist's lines to a structured logger. What
// memberlist calls an error heals alone or is reported otherwise, so it is a
// warning here; the rest is for debugging.
type lineLogger struct {
	// Set by newLineLogger.
	logger *slog.Logger

	muted      atomic.Bool
	second     atomic.Int64 // of the complaints counted
	complaints atomic.Int64
	suppressed atomic.Uint64
}

func newLineLogger(logger *slog.Logger) *lineLogger { return &lineLogger{logger: logger} }

// std returns the logger as memberlist takes it.
func (l *lineLogger) std() *log.Logger { return log.New(l, "", 0) }

// mute drops everything from now on.
func (l *lineLogger) mute() { l.muted.Store(true) }

// Write logs one line. It never fails.
func (l *lineLogger) Write(line []byte) (int, error) {
	size := len(line)
	if l.muted.Load() {
		return size, nil
	}
	level, text := parseLine(line)
	if level == slog.LevelWarn && !l.allow() {
		l.suppressed.Add(1)
		return size, nil
	}
	ctx := context.Background()
	if !l.logger.Enabled(ctx, level) {
		return size, nil
	}
	attrs := []slog.Attr{slog.String("text", text)}
	if n := l.suppressed.Swap(0); n > 0 {
		attrs = append(attrs, slog.Uint64("suppressed", n))
	}
	l.logger.LogAttrs(ctx, level, "memberlist says", attrs...)
	return size, nil
}

// allow counts a complaint of this second.
func (l *lineLogger) allow() bool {
	now := time.Now().Unix()
	if former := l.second.Swap(now); former != now {
		l.complaints.Store(0)
	}
	return l.complaints.Add(1) <= maxComplaints
}

// parseLine takes memberlist's level and name off a line.
func parseLine(line []byte) (slog.Level, string) {
	level := slog.LevelWarn
	line = bytes.TrimSpace(line)
	if rest, ok := bytes.CutPrefix(line, []byte("[")); ok {
		if word, rest, ok := bytes.Cut(rest, []byte("]")); ok {
			line = bytes.TrimSpace(rest)
			if string(word) == "DEBUG" || string(word) == "INFO" {
				level = slog.LevelDebug
			}
		}
	}
	return level, string(bytes.TrimPrefix(line, []byte("memberlist: ")))
}
