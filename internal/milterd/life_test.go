package milterd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/milter"
)

// TestManyMessages: one connection of a mail server, with messages and clients one after another, none of whom inherits anything.
func TestManyMessages(t *testing.T) {
	w := newWorld(t)
	w.org.Guards.Tags = evidence.TagSign
	m := w.open().dial(milter.Offer{})
	for range 3 {
		m.greets(server)
		for range 3 {
			if got := kinds(m.sends("bob@example.org", "ann@far.example", letter)); got != "ei" {
				t.Errorf("from inside: %s", got)
			}
		}
		must(t, m.QuitNC())
		m.greets(stranger)
		for range 3 {
			if got := m.word(m.sends("ann@far.example", "nobody@example.org", letter), nil); !strings.HasPrefix(got, "550 5.1.1") {
				t.Errorf("from outside: %q", got)
			}
			if got := kinds(m.sends("ann@far.example", "bob@example.org", letter)); got != "i" {
				t.Errorf("from outside: %s", got)
			}
		}
		must(t, m.QuitNC())
		m.greets(stranger)
		m.Macros(milter.StageMail, "{auth_authen}", "bob")
		m.mail("bob@example.org")
		must(t, m.QuitNC())
	}
	must(t, m.Quit())
}

// TestBadCalls: a HELO that comes twice or never, a MAIL inside a transaction and a command that nobody knows change nothing.
func TestBadCalls(t *testing.T) {
	w := newWorld(t).open()
	m := w.dial(milter.Offer{})
	if got := m.word(m.Connect(stranger)); got != "" {
		t.Error(got)
	}
	if a := m.sends("ann@far.example", "bob@example.org", letter); a.Action != milter.Continue {
		t.Errorf("without HELO: %q", a.Text)
	}
	for _, name := range []string{"", "client.example", strings.Repeat("x", 2000)} {
		m.word(m.Helo(name))
	}
	if m.mail("") != "" || m.rcpt("bob@example.org") != "" {
		t.Error("refused")
	}
	if got := m.word(m.Helo("again")); got != "" {
		t.Error(got)
	}
	for range 2 {
		if m.mail("") != "" || m.rcpt("bob@example.org") != "" {
			t.Error("a recipient of a transaction that is over counts")
		}
	}
	if got := m.word(m.Unknown("FOO bar")); got != "" {
		t.Error(got)
	}
	if got := m.rcpt("carol@example.org"); !strings.HasPrefix(got, "452 4.5.3") {
		t.Errorf("the transaction behind it: %q", got)
	}
}

// TestReload: a new configuration holds for a client's next message, and not before.
func TestReload(t *testing.T) {
	w := newWorld(t).open()
	m, m2 := w.from(stranger), w.from(stranger)
	if m.mail("ann@far.example") != "" {
		t.Fatal("refused")
	}
	w.cfg.Blocked = func(a netip.Addr) bool { return a == stranger.Addr }
	w.door.Configure(w.config())
	if got := m.rcpt("bob@example.org"); got != "" {
		t.Errorf("in the open transaction: %q", got)
	}
	if a := m.message(letter); a.Action != milter.Continue || len(a.Changes) == 0 {
		t.Errorf("in the open transaction: %+v", a)
	}
	for _, m := range []*mta{m, m2} {
		if got := m.mail("ann@far.example"); !strings.HasPrefix(got, "554 5.7.1 Your address is refused") {
			t.Errorf("the next message: %q", got)
		}
	}
	w.cfg.Blocked = nil
	c := w.config()
	c.Internal = func(a netip.Addr) bool { return a == stranger.Addr }
	w.door.Configure(c)
	w.org.Guards.Tags = evidence.TagSign
	if got := kinds(m.sends("bob@example.org", "ann@far.example", letter)); got != "ei" {
		t.Errorf("one of us by now: %s", got)
	}
	if got := w.decided(); got != "accept accepted, accept accepted, refuse client-blocked, refuse client-blocked, accept accepted, accept accepted" {
		t.Errorf("log: %s", got)
	}
}

// TestMalformed: who is no mail server is hung up on, and the operator hears of it once a minute by the engine's clock.
func TestMalformed(t *testing.T) {
	w := newWorld(t).open()
	for i, want := range []int{1, 0, 1} {
		if i == 2 {
			w.later(time.Minute)
		}
		nc, err := net.Dial("tcp", w.addr)
		must(t, err)
		io.WriteString(nc, "GET / HTTP/1.0\r\n\r\n")
		io.Copy(io.Discard, nc)
		nc.Close()
		if log := w.log(); len(log) != want || want > 0 && (log[0].Msg != "a connection is closed" || log[0].Door != "milter") {
			t.Errorf("%d: %+v", i, log)
		}
	}
}

// TestAbort: a message that has no end is not accepted, and nothing of it is left for the next.
func TestAbort(t *testing.T) {
	w := newWorld(t)
	w.org.Guards.DMARC = evidence.CheckMark
	w.open()
	begin := func(m *mta) {
		if m.mail("") != "" || m.rcpt("bob@example.org") != "" {
			t.Error("refused")
		}
	}
	fields := func(m *mta) {
		begin(m)
		m.word(m.Data())
		m.word(m.Header("From", " ann@far.example"))
	}
	body := func(m *mta) {
		fields(m)
		m.word(m.EOH())
		m.word(m.Body([]byte("Hello.\r\n")))
	}
	for name, until := range map[string]func(*mta){
		"mail": func(m *mta) { m.mail("") }, "rcpt": begin, "data": func(m *mta) { begin(m); m.word(m.Data()) }, "header": fields, "body": body,
	} {
		for end, leave := range map[string]func(*mta) error{
			"abort": func(m *mta) error { return errors.Join(m.Abort(), m.Abort()) }, "quit": (*mta).Quit, "hang up": (*mta).Close, "another client": (*mta).QuitNC,
		} {
			m := w.from(stranger)
			until(m)
			must(t, leave(m))
			switch end {
			case "quit", "hang up":
				m = w.from(stranger)
			case "another client":
				m.greets(stranger)
			}
			begin(m)
			must(t, m.Abort())
			must(t, m.Quit())
			w.idle(0)
			for _, l := range w.log() {
				if l.Stage == "data" {
					t.Errorf("%s, %s: %+v", name, end, l)
				}
			}
		}
	}
}

// idle waits until so many connections are open.
func (w *world) idle(n int) {
	w.t.Helper()
	for w.door.Open() != n {
		runtime.Gosched()
	}
}

// TestVersions: mail servers of all ages, with nothing in common but what each must have.
func TestVersions(t *testing.T) {
	w := newWorld(t).leaving().open()
	for version := uint32(milter.MinVersion); version <= 8; version++ {
		for _, steps := range []milter.StepMask{0, milter.NRHeader<<1 - 1, milter.HeaderLeadSpace<<1 - 1} {
			if steps == 0 {
				steps = milter.NoConnect // offered, and never taken
			}
			m := w.dial(milter.Offer{Version: version, Steps: steps})
			if m.Version() != min(version, milter.MaxVersion) || m.Steps()&milter.RcptRejected != 0 {
				t.Errorf("version %d, steps %#x", m.Version(), m.Steps())
			}
			m.greets(server)
			name := fmt.Sprintf("version %d, steps %#x", version, steps)
			if got := kinds(m.sends("bob@example.org", "ann@far.example", letter)); got != "ei" {
				t.Errorf("%s: %s", name, got)
			}
			if got := m.word(m.sends("bob@example.org", "nobody@example.org", letter), nil); !strings.HasPrefix(got, "550 5.1.1") {
				t.Errorf("%s: %q", name, got)
			}
			must(t, m.Quit())
			m = w.dial(milter.Offer{Version: version, Steps: steps})
			m.greets(stranger)
			if got := m.word(m.sends("ann@far.example", "dave@hosted.example", letter), nil); got != "accept" {
				t.Errorf("%s: nothing is ours, and it is %q", name, got)
			}
			must(t, m.Quit())
		}
	}
}

// TestPanic: a fault of ours is 4xx with a reference that the log has, and over with the transaction.
func TestPanic(t *testing.T) {
	for _, tc := range []struct{ at, told string }{{"connect", "connect"}, {"mail", "mail"}, {"rcpt", "spf"}, {"message", "dmarc"}} {
		t.Run(tc.at, func(t *testing.T) {
			w := newWorld(t)
			client, from := stranger, "ann@far.example"
			switch tc.at {
			case "connect":
				client.Name = "panic.example"
			case "mail":
				from = "panic@far.example"
			case "rcpt":
				w.org.Guards.SPF = evidence.CheckRefuse
			case "message":
				w.org.Guards.DMARC = evidence.CheckRefuse
				w.org.Guards.SPF = evidence.CheckMark
			}
			m := w.open().from(client)
			w.auth.broken.Store(tc.at == "rcpt")
			if tc.at == "message" {
				if m.mail(from) != "" || m.rcpt("bob@example.org") != "" || m.word(m.Data()) != "" {
					t.Fatal("refused")
				}
				w.auth.broken.Store(true)
				tc.told = "spf"
			}
			a := milter.Answer{}
			if tc.at == "message" {
				m.Header("From", " ann@far.example")
				m.EOH()
				var err error
				a, err = m.EndOfBody()
				must(t, err)
			} else {
				a = m.sends(from, "bob@example.org", letter)
			}
			if id.ReplaceAllString(a.Text, "") != "451 4.3.0 Temporary failure, reference" || !id.MatchString(a.Text) {
				t.Errorf("%v %q", a.Action, a.Text)
			}
			if got := <-w.panics; got != tc.told {
				t.Errorf("told of %q", got)
			}
			found := false
			for _, l := range w.log() {
				found = found || l.Rule == "internal-error" && strings.Contains(a.Text, "["+l.ID+"]")
			}
			if !found {
				t.Errorf("the log has nothing of %q", a.Text)
			}
			if tc.at == "rcpt" { // what belongs to the transaction is put off too
				if got := m.rcpt("carol@example.org"); !strings.HasPrefix(got, "451 4.3.0") {
					t.Errorf("the next recipient: %q", got)
				}
				if got := m.word(m.Data()); !strings.HasPrefix(got, "451 4.3.0") {
					t.Errorf("DATA: %q", got)
				}
			}
			w.auth.broken.Store(false)
			if tc.at != "connect" {
				if a := m.sends("ann@far.example", "bob@example.org", letter); a.Action != milter.Continue || len(a.Changes) == 0 {
					t.Errorf("the next message: %+v", a)
				}
			}
		})
	}
}

// TestDrain: who rests is hung up on, who is in the middle of a message ends it first, and nobody new comes in.
func TestDrain(t *testing.T) {
	w := newWorld(t).open()
	resting, busy := w.from(stranger), w.from(stranger)
	if busy.mail("ann@far.example") != "" {
		t.Fatal("refused")
	}
	done := make(chan error, 1)
	go func() { done <- w.door.Shutdown(context.Background()) }()
	if _, err := resting.Mail("ann@far.example"); err == nil {
		// It may have been in time: then the message is the last.
		if _, err := resting.Rcpt("bob@example.org"); err == nil {
			must(t, resting.Abort())
		}
	}
	if got := busy.rcpt("bob@example.org"); got != "" {
		t.Errorf("%q", got)
	}
	if a := busy.message(letter); a.Action != milter.Continue || len(a.Changes) == 0 {
		t.Errorf("%+v", a)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := busy.Mail("ann@far.example"); err == nil {
		t.Error("it goes on")
	}
}

// TestCut: who does not end in time is cut off.
func TestCut(t *testing.T) {
	w := newWorld(t).open()
	m := w.from(stranger)
	if m.mail("ann@far.example") != "" {
		t.Fatal("refused")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.door.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := m.Rcpt("bob@example.org"); err == nil || w.door.Open() != 0 {
		t.Errorf("%d are open, %v", w.door.Open(), err)
	}
}

// TestThousand: many mail servers' processes at once cost little as long as they rest, and are answered each.
func TestThousand(t *testing.T) {
	const many = 1000
	w := newWorld(t).open()
	w.from(stranger).Quit()
	w.idle(0)
	inUse := func() uint64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return s.HeapInuse + s.StackInuse
	}
	goroutines, before := runtime.NumGoroutine(), inUse()
	all := make([]*mta, many)
	for i := range all {
		all[i] = w.from(stranger)
	}
	w.idle(many)
	each := (int64(inUse()) - int64(before)) / many
	t.Logf("%d octets for each connection at rest, both ends; %d goroutines", each, runtime.NumGoroutine()-goroutines)
	if each > 48<<10 || runtime.NumGoroutine()-goroutines > many+10 {
		t.Errorf("a connection at rest takes %d octets, and all take %d goroutines", each, runtime.NumGoroutine()-goroutines)
	}
	var wg sync.WaitGroup
	for i, m := range all {
		wg.Go(func() {
			to, want := "bob@example.org", ""
			if i%2 == 1 {
				to, want = "nobody@example.org", "550"
			}
			if a, err := m.Mail("ann@far.example"); err != nil || a.Action != milter.Continue {
				t.Errorf("%+v, %v", a, err)
				return
			}
			if a, err := m.Rcpt(to); err != nil || !strings.HasPrefix(a.Text, want) || want == "" && a.Action != milter.Continue {
				t.Errorf("%+v, %v", a, err)
				return
			}
			if want == "" {
				if a := m.message(letter); a.Action != milter.Continue || len(a.Changes) == 0 {
					t.Errorf("%+v", a)
				}
			}
			m.Quit()
		})
	}
	wg.Wait()
	w.idle(0)
	if got := strings.Count(w.decided(), "accept accepted"); got != many {
		t.Errorf("%d lines say that something was taken", got)
	}
}
