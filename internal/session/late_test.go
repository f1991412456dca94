package session

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mailtest"
	"backstop/internal/smtp"
)

// event is a reader that has nothing to read, and does something when it is come to.
type event func() error

func (e event) Read([]byte) (int, error) { return 0, e() }

// during plays a message in which something happens in the middle.
func during(text string, f func()) io.Reader {
	happens := event(func() error { f(); return io.EOF })
	half := len(text) / 2
	return io.MultiReader(strings.NewReader(text[:half]), happens, strings.NewReader(text[half:]))
}

// breaks plays a message that ends in an error.
func breaks(text string, err error) io.Reader {
	return io.MultiReader(strings.NewReader(text), event(func() error { return err }))
}

// long is a signed message that is longer than what is read at first.
func (w *world) long() string {
	w.t.Helper()
	return w.signed(letterHead) + "\r\n" + strings.Repeat("0123456789abcde\r\n", 20000)
}

// opens begins a transaction of a stranger's with two recipients, or of one of our servers'.
func (w *world) opens(door evidence.Door, p smtp.MailParams) *Session {
	w.t.Helper()
	client, from, to := stranger, "ann@far.example", []string{"bob@example.org", "eve@example.org"}
	if door == evidence.DoorOutbound {
		client, from, to = server, "bob@example.org", []string{"ann@far.example", "joe@far.example"}
	}
	s := w.from(client, door)
	s.Mail(path(w.t, from), p)
	for _, r := range to {
		if v := s.Rcpt(addr(w.t, r), smtp.RcptParams{}); !v.Reply.Positive() {
			w.t.Fatal(v.Reply)
		}
	}
	return s
}

// doors are those by which a long signed message comes that is held, and the server that gets it.
func (w *world) doors() map[evidence.Door]*mailtest.Mock {
	w.org.Guards.DMARC = evidence.CheckMark
	return map[evidence.Door]*mailtest.Mock{evidence.DoorSMTP: w.near, evidence.DoorOutbound: w.far}
}

// TestSlow: while a long message is held the server behind hangs up; it gets the message all the same, if it
// takes every recipient again, and the sender hears yes only from it.
func TestSlow(t *testing.T) {
	for name, c := range map[string]struct {
		idle      bool // and it hangs up for that
		meanwhile func(*mailtest.Mock)
		want      int
	}{
		"nothing":     {false, func(*mailtest.Mock) {}, 250},
		"idle":        {true, func(*mailtest.Mock) {}, 250},
		"not now":     {true, func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "RCPT", Reply: "450 4.2.0 later"}) }, 450},
		"another no":  {true, func(m *mailtest.Mock) { m.Change(func(s *mailtest.Script) { s.Users = []string{"bob", "ann"} }) }, 451},
		"gone":        {true, func(m *mailtest.Mock) { m.Down() }, 451},
		"refused":     {true, func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "DOT", Reply: "550 5.7.1 no"}) }, 550},
		"hangs up":    {false, func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "DATA", Hangup: true, Times: 1}) }, 250},
		"never takes": {false, func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "DATA", Hangup: true}) }, 451},
	} {
		w := newWorld(t)
		for door, m := range w.doors() {
			text := w.long()
			s := w.opens(door, smtp.MailParams{})
			v := s.Message(during(text, func() {
				if c.idle {
					m.Hangup()
					m.WaitIdle(t)
				}
				c.meanwhile(m)
			}))
			all := kept(m)
			if v.Reply.Code() != c.want || (len(all) == 1) != v.Reply.Positive() || len(all) > 1 {
				t.Errorf("%s, %v: %v; %d messages", name, door, v.Reply, len(all))
			}
			if len(all) == 1 && (!bytes.HasSuffix(all[0].Body, []byte(text)) || len(all[0].To) != 2) {
				t.Errorf("%s, %v: not as it was sent: %v", name, door, all[0])
			}
		}
	}
}

// TestLateFault: what is wrong with a long message is told its sender, also where it is found while the message is held.
func TestLateFault(t *testing.T) {
	for err, want := range map[error]int{
		smtp.ErrTooBig: 552, &smtp.FaultError{Fault: smtp.FaultBareLF}: 550, &smtp.FaultError{Fault: smtp.FaultNUL}: 550, io.ErrUnexpectedEOF: 451,
	} {
		for _, check := range []evidence.Check{evidence.CheckMark, evidence.CheckRefuse} {
			w := newWorld(t)
			for door, m := range w.doors() {
				w.org.Guards.DMARC = check
				v := w.opens(door, smtp.MailParams{}).Message(breaks(w.long(), err))
				if v.Reply.Code() != want || len(m.Messages()) > 0 || m.Asked("DATA") > 0 {
					t.Errorf("%v, %v: %v", err, door, v.Reply)
				}
			}
		}
	}
}

// crowd fills the files up to what is left.
func crowd(t *testing.T, left int64) {
	spooled.Add(spoolBudget - left)
	t.Cleanup(func() { spooled.Add(left - spoolBudget) })
}

// TestNoRoom: a message that cannot be held is deferred only where a signature decides about it, and never blamed on a server that was not asked.
func TestNoRoom(t *testing.T) {
	for name, full := range map[string]func(*testing.T, *world){
		"no folder":  func(t *testing.T, w *world) { w.cfg.Spool = t.TempDir() + "/missing" },
		"full":       func(t *testing.T, _ *world) { crowd(t, 0) },
		"half of it": func(t *testing.T, _ *world) { crowd(t, 150<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.doors()
			full(t, w)
			var log bytes.Buffer
			w.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			text := w.long()

			v := w.opens(evidence.DoorSMTP, smtp.MailParams{}).Message(strings.NewReader(text))
			got := w.one(w.near)
			if !v.Reply.Positive() || !bytes.HasSuffix(got.Body, []byte(text)) || !strings.Contains(string(got.Body[:1000]), "dkim=temperror") {
				t.Errorf("marked: %v; %.1000s", v.Reply, got.Body)
			}
			if strings.Contains(log.String(), "ERROR") || !strings.Contains(log.String(), "not checked") {
				t.Error(log.String())
			}
			w.org.Guards.DMARC = evidence.CheckRefuse
			for _, door := range []evidence.Door{evidence.DoorSMTP, evidence.DoorOutbound} {
				log.Reset()
				s := w.opens(door, smtp.MailParams{})
				v := s.Message(strings.NewReader(text))
				if v.Reply.Code() != 451 || s.c.Final != (evidence.Answer{}) || len(w.near.Messages())+len(w.far.Messages()) > 0 || !strings.Contains(log.String(), "level=ERROR") {
					t.Errorf("%v: %v, %+v; %s", door, v.Reply, s.c.Final, log.String())
				}
			}
		})
	}
}

// TestKeepNoRoom: what found no room is not lost, and is read in order.
func TestKeepNoRoom(t *testing.T) {
	text := strings.Repeat("0123456789abcde\n", memSize/8)
	for _, left := range []int64{0, 1, 100 << 10, memSize} {
		for _, fill := range []int{headSize, maxHeader, memSize} {
			m := hold(strings.NewReader(text), t.TempDir())
			m.fill(headSize)
			crowded := spoolBudget - left
			spooled.Add(crowded)
			if err := m.keep(); !errors.Is(err, errNoSpool) || m.err != nil || m.keep() == nil {
				t.Errorf("%d left: %v, %v", left, err, m.err)
			}
			m.fill(fill)
			got, err := io.ReadAll(m.reader())
			if string(got) != text || err != nil || m.size() != int64(len(text)) {
				t.Errorf("%d left: read %d, %v", left, len(got), err)
			}
			m.release()
			if n := spooled.Add(-crowded); n != 0 {
				t.Errorf("%d octets are still counted", n)
			}
		}
	}
}

// TestHoldMemory: a message that is only kept takes no memory beyond its head, and one that wants some says if there is none.
func TestHoldMemory(t *testing.T) {
	text := strings.Repeat("x", 2*memSize)
	m := hold(strings.NewReader(text), t.TempDir())
	defer m.release()
	m.fill(headSize)
	m.finish()
	if held.Load() != 0 || len(m.mem) > headSize || m.err != nil || !m.whole {
		t.Errorf("%d octets in memory: %v", len(m.mem), m.err)
	}
	held.Add(memBudget)
	m.fill(memSize)
	held.Add(-memBudget)
	if !m.short || len(m.mem) > headSize {
		t.Errorf("there was no memory, and %d octets are in it", len(m.mem))
	}
	m.short = false
	if m.fill(memSize); m.short || len(m.mem) < memSize-1 || held.Load() != memSize {
		t.Errorf("%d octets in memory", len(m.mem))
	}
}

// TestStray: binary mail must have a header that all read alike.
func TestStray(t *testing.T) {
	for text, want := range map[string]int{
		"From: a@far.example\r\nX: y\r\n\r\nbare\nand\rall": 250,
		"\r\nno header\n":                            250,
		"From: a@far.example\r\n":                    250,
		"X: y\n\nFrom: ceo@bank.example\r\n\r\nbody": 550,
		"X: y\n\r\nFrom: ceo@bank.example\r\n\r\nb":  550,
		"\nFrom: ceo@bank.example\r\n\r\nbody":       550,
		"X: y\rFrom: ceo@bank.example\r\n\r\nbody":   550,
		"X: y\r\r\nFrom: ceo@bank.example\r\n\r\n":   550,
		"X: y\r":                550,
		"no line end but\nthis": 550,
		"X: " + strings.Repeat("a", 2*headSize) + "\n\r\nY: z\r\n\r\n": 550,
	} {
		w := newWorld(t)
		w.doors()
		v := w.opens(evidence.DoorSMTP, smtp.MailParams{Body: smtp.BodyBinaryMIME}).Message(strings.NewReader(text))
		if v.Reply.Code() != want {
			t.Errorf("%.60q: %v", text, v.Reply)
		}
	}
}

// TestFirstLine: a message that begins with a blank does not go on with our Received field.
func TestFirstLine(t *testing.T) {
	w := newWorld(t)
	for door, m := range w.doors() {
		for _, text := range []string{" (from a friend)\r\nFrom: a@far.example\r\n\r\nbody\r\n", "\tx\r\n", " "} {
			s := w.opens(door, smtp.MailParams{})
			v := s.Message(strings.NewReader(text))
			got := string(w.one(m).Body)
			i := strings.Index(got, strayField+text)
			if !v.Reply.Positive() || i < 0 || strings.Contains(got[:i], "\r\n\r\n") || !strings.Contains(got[:i], "\r\nReceived: from ") && !strings.HasPrefix(got, "Received: from ") {
				t.Errorf("%v, %q: %v", v.Reply, text, got)
			}
		}
	}
}

// FuzzStray: binary mail whose header is taken has nothing in it that ends a line elsewhere.
func FuzzStray(f *testing.F) {
	for _, text := range []string{"", "\r\n\nX", "A: 1\r\nB: 2\r\n\r\n\n\r", "A: 1\n\nB: 2\r\n\r\n", "A: 1\r\r\n\r\n", "A: 1\n\r\n", "\nA", "\r"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m := &holding{mem: text, whole: true}
		if m.stray() != evidence.NoFault {
			return
		}
		end, found := m.header()
		if rest := bytes.ReplaceAll(text[:end], []byte("\r\n"), nil); !found || bytes.ContainsAny(rest, "\r\n") {
			t.Errorf("%q is taken for a header", text[:end])
		}
		if body := m.bodyAt(end); end < len(text) && string(text[end:body]) != "\r\n" {
			t.Errorf("%q ends the header", text[end:body])
		}
	})
}

// TestDiskFails: a file that cannot be written takes nothing away, and one that cannot be read back never looks like the end of a message.
func TestDiskFails(t *testing.T) {
	name := t.TempDir() + "/message"
	must(t, os.WriteFile(name, nil, 0o600))
	f, err := os.Open(name) // for reading only
	must(t, err)
	m := &holding{file: f}
	if err := m.spill([]byte("text")); err == nil || string(m.tail) != "text" || m.filed != 0 || spooled.Load() != 0 {
		t.Errorf("%v, %q kept, %d in the file", err, m.tail, m.filed)
	}
	m.release()
	for what, damage := range map[string]func(*os.File) error{
		"closed": (*os.File).Close,
		"short":  func(f *os.File) error { return f.Truncate(2 * headSize) },
	} {
		m := hold(strings.NewReader(strings.Repeat("x", memSize)), t.TempDir())
		m.fill(headSize)
		m.finish()
		must(t, damage(m.file))
		if err := m.copyTo(io.Discard, 0); err == nil {
			t.Errorf("%s: copied to its end", what)
		}
		if got, err := io.ReadAll(m.reader()); err == nil || errors.Is(err, io.EOF) || !m.ours || len(got) == memSize {
			t.Errorf("%s: read %d octets, %v, %v", what, len(got), err, m.err)
		}
		m.release()
	}
}
