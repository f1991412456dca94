package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// at is the moment of every record in these tests.
var at = time.Date(2026, 3, 4, 5, 6, 7, 89_012_345, time.UTC)

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refusal is the record of an everyday refusal.
func refusal(t testing.TB) *Record {
	id := mail.ID([]byte("3k9dm2xq7abc"))
	return &Record{
		Time: at, Effect: Refuse, ID: id, Door: evidence.DoorSMTP, Stage: evidence.StageRcpt,
		Client: netip.MustParseAddr("192.0.2.7"), Helo: "mx.example.org",
		From: mail.ReversePath{Address: address(t, "ann@example.org")}, FromGiven: true,
		To: address(t, "nobody@example.com"), Rule: "recipient-missing",
		Reply: mail.MustReply(550, "5.1.1", "Recipient address rejected: User unknown").About("nobody@example.com").WithID(id),
		Took:  1234567 * time.Nanosecond,
	}
}

// write gives the lines that the records leave in a journal of that format.
func write(t testing.TB, f Format, records ...*Record) string {
	t.Helper()
	var out bytes.Buffer
	j := New(&out, f)
	for _, r := range records {
		j.Decision(r)
	}
	j.Close()
	return out.String()
}

// asSlog is what slog.JSONHandler prints for the same attributes.
func asSlog(t testing.TB, r *Record) string {
	t.Helper()
	var out bytes.Buffer
	line := slog.NewRecord(r.Time, slog.LevelInfo, string(r.Effect), 0)
	add := func(key string, value any) {
		if value != "" {
			line.AddAttrs(slog.Any(key, value))
		}
	}
	add("id", r.ID.String())
	add("door", r.Door.String())
	if r.Leaves {
		add("leaves", true)
	}
	add("stage", r.Stage.String())
	if r.Client.IsValid() {
		add("client", r.Client.String())
	}
	add("helo", r.Helo)
	if r.FromGiven && r.From.IsNull() {
		add("from", "<>")
	}
	add("from", r.From.String())
	add("to", r.To.String())
	add("rule", r.Rule)
	add("reply", r.Reply.String())
	add("ms", float64(r.Took.Microseconds())/1000)
	if d := r.Downstream; d != nil {
		group := []any{slog.String("outcome", d.Outcome.String())}
		if d.Host != "" {
			group = append(group, slog.String("host", d.Host))
		}
		if d.Step != evidence.StepNone {
			group = append(group, slog.String("step", d.Step.String()))
		}
		switch {
		case d.Code != 0:
			reply := fmt.Sprint(d.Code)
			for _, part := range []string{d.Status.String(), d.Text} {
				if part != "" {
					reply += " " + part
				}
			}
			group = append(group, slog.String("reply", reply))
		case d.Text != "":
			group = append(group, slog.String("error", d.Text))
		}
		line.AddAttrs(slog.Group("downstream", group...))
	}
	add("source", r.Source)
	add("finding", r.Finding)
	if r.Mode == evidence.Watch {
		add("mode", "watch")
	}
	add("watched", r.Watched)
	if err := slog.NewJSONHandler(&out, nil).Handle(t.Context(), line); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func parsed(t testing.TB, line string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, line)
	}
	return m
}

func TestJSONIsWhatSlogPrints(t *testing.T) {
	bounce := refusal(t)
	bounce.From, bounce.To = mail.ReversePath{}, address(t, `"o\"dd <x>"@example.com`)
	bounce.Time = at.In(time.FixedZone("", 5400)).Truncate(time.Second)
	bounce.Took = 3 * time.Second

	answered := refusal(t)
	answered.Effect, answered.Client = Accept, netip.MustParseAddr("2001:db8::1")
	answered.Downstream = &evidence.Answer{Outcome: evidence.OutcomeAccepted, Step: evidence.StepMessage, Code: 250,
		Status: mail.Status{Class: 2}, Text: "queued as \x1b[31mABC", Host: "imap.example.com:25"}

	unreachable := refusal(t)
	unreachable.Effect = Defer
	unreachable.Source, unreachable.Finding = "corp", "ldap://dc1: \"connection\" refused\n"
	unreachable.Downstream = &evidence.Answer{Outcome: evidence.OutcomeUnreachable, Step: evidence.StepConnect, Text: "connection refused"}

	watched := refusal(t)
	watched.Effect, watched.Mode, watched.Watched, watched.Rule = Accept, evidence.Watch, "recipient-missing", "accepted"

	early := &Record{Time: at, Effect: Refuse, Door: evidence.DoorSMTP, Client: netip.MustParseAddr("192.0.2.7"), Rule: "client-blocked"}

	for name, r := range map[string]*Record{
		"refusal": refusal(t), "bounce": bounce, "answered": answered, "unreachable": unreachable, "watched": watched, "early": early,
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := write(t, JSON, r), asSlog(t, r); got != want {
				t.Errorf("got  %swant %s", got, want)
			}
		})
	}
}

func TestTextIsReadAtAGlance(t *testing.T) {
	relayed := refusal(t)
	relayed.Effect, relayed.Stage, relayed.Rule = Accept, evidence.StageData, "accepted"
	relayed.Reply = mail.MustReply(250, "2.0.0", "Ok")
	relayed.Downstream = &evidence.Answer{Outcome: evidence.OutcomeAccepted, Code: 250, Status: mail.Status{Class: 2}, Text: "queued"}
	hostile := &Record{Time: at, Effect: Refuse, Stage: evidence.StageHelo, Client: netip.MustParseAddr("192.0.2.7"),
		Helo: "x\x1b[2J\n05:06:07 accept", Rule: "command-abuse"}
	null := refusal(t)
	null.From = mail.ReversePath{}
	for _, c := range []struct {
		r    *Record
		want string
	}{
		{refusal(t), "05:06:07 refuse rcpt    192.0.2.7 <ann@example.org> -> nobody@example.com  recipient-missing  550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown [3k9dm2xq7abc]  1.234ms\n"},
		{null, "05:06:07 refuse rcpt    192.0.2.7 <> -> nobody@example.com  recipient-missing  550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown [3k9dm2xq7abc]  1.234ms\n"},
		{relayed, "05:06:07 accept data    192.0.2.7 <ann@example.org> -> nobody@example.com  accepted  250 2.0.0 Ok [3k9dm2xq7abc]  downstream accepted: 250 2.0.0 queued  1.234ms\n"},
		{hostile, `05:06:07 refuse helo    192.0.2.7 helo "x\x1b[2J\n05:06:07 accept"  command-abuse  0ms` + "\n"},
	} {
		if got := write(t, Text, c.r); got != c.want {
			t.Errorf("got  %swant %s", got, c.want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "plain", `"\`, "\x00\x1f\x7f", "\xff\xc3(", "\u2028\u2029\u202e", "é中\U0001f4ec", "a\xe2\x80", "\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := &Record{Time: at, Effect: Refuse, Helo: s, Rule: "command-abuse",
			Reply:      mail.MustReply(550, "5.1.1", "no").About(s),
			Downstream: &evidence.Answer{Outcome: evidence.OutcomeRefused, Code: 550, Text: s}}
		if a, err := mail.ParseAddress(s); err == nil {
			r.From, r.To, r.FromGiven = mail.ReversePath{Address: a}, a, true
		}
		line := write(t, JSON, r)
		if !reflect.DeepEqual(parsed(t, line), parsed(t, asSlog(t, r))) {
			t.Errorf("got  %swant %s", line, asSlog(t, r))
		}
		for _, text := range []string{line, write(t, Text, r)} {
			if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
				t.Errorf("more than one line: %q", text)
			}
			if i := strings.IndexFunc(text[:len(text)-1], func(c rune) bool { return c < ' ' }); i >= 0 {
				t.Errorf("a control character in %q", text)
			}
		}
	})
}

// raced says whether the race detector is on, under which a sync.Pool drops what
// it is given, at random.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestDecisionAllocatesNothing(t *testing.T) {
	if raced() {
		t.Skip("the race detector makes sync.Pool forget")
	}
	for _, f := range []Format{JSON, Text} {
		j := New(io.Discard, f)
		r := refusal(t)
		r.Downstream = &evidence.Answer{Outcome: evidence.OutcomeRefused, Code: 550, Status: mail.Status{Class: 5, Subject: 1, Detail: 1}, Text: "no"}
		for range 1000 { // both buffers reach their size
			j.Decision(r)
		}
		j.Flush()
		if n := testing.AllocsPerRun(100, func() { j.Decision(r) }); n != 0 {
			t.Errorf("format %d: %v allocations", f, n)
		}
		j.Close()
	}
}

// gate is a writer that hangs until it is opened.
type gate struct {
	open    chan struct{}
	entered chan struct{}
	once    sync.Once
	out     bytes.Buffer
}

func newGate() *gate { return &gate{open: make(chan struct{}), entered: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	g.once.Do(func() { close(g.entered) })
	<-g.open
	return g.out.Write(p)
}

func TestAWriterThatHangsDelaysNobodyAndLosesLinesAloud(t *testing.T) {
	for _, f := range []Format{JSON, Text} {
		g := newGate()
		j := New(g, f)
		r := refusal(t)
		j.Decision(r)
		<-g.entered
		const n = 40_000 // some 12 MB: three times what is kept
		for range n {
			j.Decision(r)
		}
		s := j.Stats()
		if s.Dropped == 0 || s.Lines+s.Dropped != n+1 {
			t.Errorf("format %d: %d lines kept and %d dropped of %d", f, s.Lines, s.Dropped, n+1)
		}
		close(g.open)
		j.Close()
		want := fmt.Sprintf(`"lost":%d}`, s.Dropped)
		if f == Text {
			want = fmt.Sprintf("lost=%d\n", s.Dropped)
		}
		if !strings.Contains(g.out.String(), want) {
			t.Errorf("format %d: the stream does not say %s", f, want)
		}
		if got := strings.Count(g.out.String(), "recipient-missing"); uint64(got) != s.Lines {
			t.Errorf("format %d: %d lines written, %d taken", f, got, s.Lines)
		}
	}
}

func TestCloseGivesUpOnAWriterThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		j := New(g, JSON)
		j.Decision(refusal(t))
		<-g.entered
		before := time.Now()
		j.Close()
		if waited := time.Since(before); waited != closePatience {
			t.Errorf("waited %v", waited)
		}
		j.Decision(refusal(t)) // too late, and no harm
		if s := j.Stats(); s.Dropped != 1 {
			t.Errorf("dropped %d", s.Dropped)
		}
		close(g.open)
	})
}

// broken is a writer that fails until it is mended.
type broken struct {
	failures int
	out      bytes.Buffer
}

func (b *broken) Write(p []byte) (int, error) {
	if b.failures > 0 {
		b.failures--
		return 0, errors.New("no space left on device")
	}
	return b.out.Write(p)
}

func TestAWriterThatFailsIsCountedAndReported(t *testing.T) {
	b := &broken{failures: 2}
	j := New(b, JSON)
	for range 3 {
		j.Decision(refusal(t))
		j.Flush()
	}
	if s := j.Stats(); s.Failures != 2 || s.Dropped != 2 || s.LastError != "no space left on device" {
		t.Errorf("%+v", s)
	}
	j.Close()
	lines := strings.Split(strings.TrimSpace(b.out.String()), "\n")
	if len(lines) != 2 || parsed(t, lines[1])["lost"] != 2.0 || parsed(t, lines[1])["level"] != "WARN" {
		t.Errorf("the stream is %q", lines)
	}
}

func TestLinesAreWrittenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		j := New(w, JSON)
		defer j.Close()
		before := time.Now()
		j.Decision(refusal(t))
		b := make([]byte, 1<<10)
		if _, err := r.Read(b); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(before); waited != FlushEvery {
			t.Errorf("written after %v", waited)
		}
	})
}

func TestManyWritersOneLineEach(t *testing.T) {
	var out bytes.Buffer
	j := New(&out, JSON)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				j.Decision(refusal(t))
			}
			j.Flush()
		})
	}
	all.Wait()
	j.Close()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 1600 {
		t.Fatalf("%d lines", len(lines))
	}
	want := write(t, JSON, refusal(t))
	for _, l := range lines {
		if l+"\n" != want {
			t.Fatalf("a broken line: %s", l)
		}
	}
}

func TestSlogLinesStandInTheSameStream(t *testing.T) {
	talk := func(l *slog.Logger) {
		l.Info("listening", "addr", "127.0.0.1:2525")
		l.With("source", "corp").WithGroup("ldap").Warn("slow", "took", time.Second, slog.Group("", "n", 1))
		l.Debug("unseen")
	}
	var out bytes.Buffer
	j := New(&out, JSON)
	talk(slog.New(j.Handler()))
	j.Decision(refusal(t))
	j.Close()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || parsed(t, lines[0])["addr"] != "127.0.0.1:2525" || parsed(t, lines[2])["msg"] != "refuse" {
		t.Errorf("%q", lines)
	}
	if err := json.Unmarshal([]byte(lines[1]), &struct{}{}); err != nil {
		t.Error(err)
	}

	out.Reset()
	j = New(&out, Text)
	talk(slog.New(j.Handler()))
	slog.New(j.Handler()).Error("an\nodd one", "key", "two words", "evil", "\x1b[2J")
	j.Close()
	var got []string
	for l := range strings.Lines(out.String()) {
		got = append(got, l[len("15:04:05 "):])
	}
	want := []string{
		"listening addr=127.0.0.1:2525\n",
		"WARN slow source=corp ldap.took=1s ldap.n=1\n",
		`ERROR an\nodd one key="two words" evil="\x1b[2J"` + "\n",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func BenchmarkDecision(b *testing.B) {
	j := New(io.Discard, JSON)
	defer j.Close()
	r := refusal(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		j.Decision(r)
		if i%flushLines == 0 { // no daemon decides faster than its journal's goroutine is scheduled
			j.Flush()
		}
	}
}

// flushLines is about how many lines fill the buffer once.
const flushLines = 200

func BenchmarkEncode(b *testing.B) {
	var e encoder
	r := refusal(b)
	b.ReportAllocs()
	for b.Loop() {
		e.buf = e.buf[:0]
		e.json(r)
	}
}
