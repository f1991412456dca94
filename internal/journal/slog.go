package journal

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// Handler gives a slog.Handler whose lines, from level INFO on, stand in the same stream
// and format as the decisions. Its Handle never blocks and never fails.
func (j *Journal) Handler() slog.Handler {
	if j.format == JSON {
		return slog.NewJSONHandler(lines{j}, nil)
	}
	return &textHandler{journal: j}
}

// lines is the journal as the writer of a slog.JSONHandler, which writes one whole line a call.
type lines struct{ j *Journal }

func (l lines) Write(p []byte) (int, error) {
	l.j.append(p)
	return len(p), nil
}

// textHandler writes ordinary log lines for a terminal.
type textHandler struct {
	journal *Journal
	group   string // "a.b." of open groups
	attrs   []byte // attributes already encoded
}

// Enabled is part of slog.Handler.
func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

// Handle is part of slog.Handler.
func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	b := make([]byte, 0, 256)
	if !r.Time.IsZero() {
		b = append(r.Time.AppendFormat(b, time.TimeOnly), ' ')
	}
	if r.Level != slog.LevelInfo { // the usual level needs no word
		b = append(append(b, r.Level.String()...), ' ')
	}
	b = appendPhrase(b, []byte(r.Message))
	b = append(b, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, h.group, a)
		return true
	})
	h.journal.append(append(b, '\n'))
	return nil
}

// WithAttrs is part of slog.Handler.
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		c.attrs = appendAttr(c.attrs, h.group, a)
	}
	return &c
}

// WithGroup is part of slog.Handler.
func (h *textHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.group += name + "."
	return &c
}

// reportLoss adds the line that says how many lines are missing at this place.
func (j *Journal) reportLoss(b []byte, n uint64) []byte {
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines were lost because they could not be written in time", 0)
	r.AddAttrs(slog.Uint64("lost", n))
	var line buffer
	if j.format == JSON {
		_ = slog.NewJSONHandler(&line, nil).Handle(context.Background(), r) // a buffer in memory does not fail
		return append(b, line...)
	}
	b = append(r.Time.AppendFormat(b, time.TimeOnly), ' ')
	b = append(append(b, "WARN "...), r.Message...)
	r.Attrs(func(a slog.Attr) bool { b = appendAttr(b, "", a); return true })
	return append(b, '\n')
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
