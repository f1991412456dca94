package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// awaySituation is one in which Backstop does not answer as always.
type awaySituation struct {
	name, says string
	not        map[string]string // ways in which it is not played, and why
	phase      *awayPhase        // while it lasts; nil: nothing can be said of all that is asked
	enough     int               // so many transactions are to fall into it
	waits      string            // the way in which the end of a message is waited for much longer: it is answered when Backstop is back
	before     string            // a source, with the short time-out, if it is another than before
	enter      func(*awayScene, *testing.T)
	during     func(*awayScene, *testing.T) // when conversations wait for an answer; nil: they are answered
	leave      func(*awayScene, *testing.T)
}

var awaySituations = []awaySituation{
	{name: "Killed", says: "The process is gone (SIGKILL), and connections to its door are refused.", phase: &awayGone, enough: 10,
		enter: func(s *awayScene, t *testing.T) { s.p.kill() },
		leave: func(s *awayScene, t *testing.T) { s.start() }},
	{name: "Stopping", says: "`systemctl stop` (SIGTERM): the door is closed, and what was begun may be finished for `drain`.", phase: &awayGone, enough: 10,
		enter: func(s *awayScene, t *testing.T) { s.signal(syscall.SIGTERM); s.closed(t) },
		leave: func(s *awayScene, t *testing.T) { s.ends(t); s.start() }},
	{name: "Held up for a moment", says: "The process stands still (SIGSTOP) and goes on (SIGCONT) before anybody's patience is at an end.",
		enter:  func(s *awayScene, t *testing.T) { s.freeze(t) },
		during: func(s *awayScene, t *testing.T) { s.signal(syscall.SIGCONT) },
		leave:  func(s *awayScene, t *testing.T) {}},
	{name: "Hanging", says: "The process stands still for longer than the MTA waits; connections to its door are still made, by the kernel. For the end of a message Postfix waits five minutes (`milter_content_timeout`), so that the milter may take it when it goes on.", phase: &awayGone, waits: "Postfix, milter",
		not:   map[string]string{"Postfix, socketmap": "waits 100 s, then `451 4.3.0`: not played"},
		enter: func(s *awayScene, t *testing.T) { s.freeze(t) },
		leave: func(s *awayScene, t *testing.T) { s.signal(syscall.SIGCONT) }},
	{name: "A source is slow", says: "The server that Backstop asks who exists answers late, but in time.",
		enter: func(s *awayScene, t *testing.T) {
			s.let = make(chan struct{})
			s.asked.Forget()
			s.asked.Change(func(x *mailtest.Script) { x.Rules = awayAnswersLate(s.let) })
		},
		during: func(s *awayScene, t *testing.T) {
			s.asked.Wait(t, "questions", func(m *mailtest.Mock) bool { return m.Asked("RCPT") > 2 })
			s.asked.Change(func(x *mailtest.Script) { x.Rules = awayKnows })
			close(s.let)
		},
		leave: func(s *awayScene, t *testing.T) {}},
	{name: "A source hangs", says: "The server that Backstop asks does not answer within the source's `timeout`.", phase: &awayUnsure, enough: 5, before: byServer,
		enter: func(s *awayScene, t *testing.T) {
			s.asked.On(mailtest.Rule{On: "RCPT", Silent: true})
			s.asked.Hangup()
		},
		leave: func(s *awayScene, t *testing.T) {
			s.asked.Change(func(x *mailtest.Script) { x.Rules = awayKnows })
			s.asked.Hangup()
			s.reload(t, s.text(byHook, awayShort)) // or Backstop would ask again only in some seconds
		}},
	{name: "A source is away", says: "Nobody answers where Backstop asks.", phase: &awayUnsure, enough: 10, before: byServer,
		enter: func(s *awayScene, t *testing.T) { s.asked.Down() },
		leave: func(s *awayScene, t *testing.T) { s.asked.Up(); s.reload(t, s.text(byHook, awayShort)) }},
	{name: "A web server hangs", says: "A source of type `http` does not answer within its `timeout`.", phase: &awayUnsure, enough: 5,
		enter: func(s *awayScene, t *testing.T) { s.hook.hold() },
		leave: func(s *awayScene, t *testing.T) { s.hook.open(); s.reload(t, s.text(byHook, awayLong)) }},
	{name: "A web server hangs longer than the MTA waits", says: "The source's `timeout` is longer than the MTA's patience, against what `setup` prints. What Backstop says in the end nobody hears.", phase: &awayUnsure,
		not:   map[string]string{"Postfix, socketmap": "waits 100 s, then `451 4.3.0`: not played"},
		enter: func(s *awayScene, t *testing.T) { s.hook.hold() },
		leave: func(s *awayScene, t *testing.T) { s.hook.open(); s.reload(t, s.text(byServer, awayLong)) }},
}

// awayUnsure is when Backstop is there and cannot tell.
var awayUnsure = awayPhase{"there and cannot tell", 4, 4, false}

// TestBesideAway takes Backstop away from each MTA in all ways, while clients bring mail for those who exist and for
// those who do not. Whatever happens: nobody who does not exist is accepted, nobody who exists is refused for good, no
// bounce leaves, what was accepted is stored as often as it was accepted, and when Backstop is back all is as
// before without anybody touching the MTA.
func TestBesideAway(t *testing.T) {
	binary := awayBinary(t)
	var table awayTable
	t.Run("all", func(t *testing.T) {
		for i, w := range awayWays {
			t.Run(w.name, func(t *testing.T) {
				t.Parallel()
				s := newAwayScene(t, w, binary, awayPort(t, i))
				for i := range awaySituations {
					t.Run(awaySituations[i].name, func(t *testing.T) { s.play(t, &awaySituations[i], &table) })
				}
				t.Run("restarted", s.restarted)
				t.Run("reloaded", s.reloaded)
				t.Run("full disk", s.full)
				s.load.account(t, s.mta)
			})
			t.Run(w.name+", unix socket", func(t *testing.T) {
				t.Parallel()
				s := newAwayScene(t, w, binary, "unix:"+awaySocket(t)+"?mode=0666")
				s.socket(t)
				s.load.account(t, s.mta)
			})
		}
	})
	table.check(t)
}

// play is one situation.
func (s *awayScene) play(t *testing.T, at *awaySituation, table *awayTable) {
	if at.not[s.name] != "" {
		s.pass(t, at)
		return
	}
	if at.before != "" {
		s.reload(t, s.text(at.before, awayShort))
	}
	var c awayCells
	open, begun, middle := s.client(t), s.client(t), s.client(t)
	defer func() { open.close(); begun.close(); middle.close() }()
	first := s.begin(t, open)
	if cell := s.finish(open, first); cell != awayAlways {
		t.Fatal(cell)
	}
	begunSent, middleSent := s.begin(t, begun), s.begin(t, middle)
	if code, words := middle.say("DATA"); code != 354 {
		t.Fatalf("DATA: %s", words)
	}
	head, rest, _ := strings.Cut(string(middleSent.Body), "\r\n\r\n")
	if err := middle.k.Send(head + "\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	at.enter(s, t)
	s.load.enter(at.phase)
	var wg, last, sent sync.WaitGroup
	sent.Add(3)
	open.sent, begun.sent, middle.sent = sync.OnceFunc(sent.Done), sync.OnceFunc(sent.Done), sync.OnceFunc(sent.Done)
	wg.Go(func() { c.Fresh = s.fresh() })
	wg.Go(func() { c.Open = s.ask(open) })
	wg.Go(func() { c.Begun = s.finish(begun, begunSent) })
	last.Go(func() { c.Middle = s.end(middle, middleSent, rest) })
	if at.during != nil {
		sent.Wait()
		at.during(s, t)
	}
	wg.Wait()
	if at.waits != s.name {
		last.Wait()
	}
	if at.enough > 0 {
		s.load.more(t, at.enough)
	}
	s.load.enter(nil)
	at.leave(s, t)
	last.Wait()
	s.recovers(t)
	c.After = s.ask(open)
	table.add(at.name, s.name, c)
	t.Logf("%s: %+v", s.name, c)
}

// pass goes through a situation without looking at it.
func (s *awayScene) pass(t *testing.T, at *awaySituation) {
	at.enter(s, t)
	at.leave(s, t)
	s.recovers(t)
}

// awayProbes is where the conversations of the table come from: strangers.
const awayProbes = "127.0.3.1"

// client is a connection that stands.
func (s *awayScene) client(t *testing.T) *awayTalk {
	t.Helper()
	c, failed := awayDial(s.mta.Addr, awayProbes)
	if failed != "" {
		t.Fatal(failed)
	}
	return c
}

// begin begins a message for one who exists.
func (s *awayScene) begin(t *testing.T, c *awayTalk) *mailtest.Sent {
	t.Helper()
	m := &mailtest.Sent{From: s.load.someone("bea") + "@sender.example", To: []string{s.someone(awayKnown)}, Known: true}
	m.Body = []byte(hello("for " + m.From))
	for _, line := range []string{"MAIL FROM:<" + m.From + ">", "RCPT TO:<" + m.To[0] + ">"} {
		if code, words := c.say(line); code != 250 {
			t.Fatalf("%s: %s", line, words)
		}
	}
	return m
}

func (s *awayScene) someone(name string) string { return s.load.someone(name) + "@" + rig.Domain }

// fresh asks on a new connection.
func (s *awayScene) fresh() string {
	c, failed := awayDial(s.mta.Addr, awayProbes)
	defer c.close()
	if failed != "" {
		return awayCode(failed)
	}
	return s.ask(c)
}

// ask asks for one who exists and one who does not.
func (s *awayScene) ask(c *awayTalk) string {
	code, words := c.say("MAIL FROM:<cem@sender.example>")
	s.load.heard(nil, "MAIL", true, code, words)
	if code != 250 {
		return "MAIL: " + awayCode(words)
	}
	code, known := c.say("RCPT TO:<" + s.someone(awayKnown) + ">")
	s.load.heard(nil, "RCPT known", true, code, known)
	code, unknown := c.say("RCPT TO:<" + s.someone(awayUnknown) + ">")
	s.load.heard(nil, "RCPT unknown", false, code, unknown)
	c.say("RSET")
	return awayAnswers(known, unknown)
}

// finish goes on with a message that has a recipient.
func (s *awayScene) finish(c *awayTalk, m *mailtest.Sent) string {
	code, unknown := c.say("RCPT TO:<" + s.someone(awayUnknown) + ">")
	s.load.heard(nil, "RCPT unknown", false, code, unknown)
	cell := "RCPT unknown: " + awayCode(unknown)
	if strings.HasPrefix(unknown, awayRefusal) {
		cell = ""
	}
	if code, words := c.say("DATA"); code != 354 {
		s.load.heard(nil, "DATA", true, code, words)
		return strings.TrimPrefix(cell+", DATA: "+awayCode(words), ", ")
	}
	end := s.end(c, m, string(m.Body))
	if cell == "" && end == awayAccepted {
		return awayAlways
	}
	return strings.TrimPrefix(cell+", "+end, ", ")
}

// end sends what is left of a message.
func (s *awayScene) end(c *awayTalk, m *mailtest.Sent, rest string) string {
	m.Ended = true
	code, words := c.say(rest + ".")
	if code != awayOver {
		m.Codes = []int{code}
	}
	s.load.heard(nil, "end of message", true, code, words)
	s.load.add(*m, nil)
	return awayEnd(words)
}

// recovers waits until a new connection is answered as always, and wants that of all from then on.
func (s *awayScene) recovers(t *testing.T) {
	t.Helper()
	last := ""
	defer func() {
		if t.Failed() {
			t.Logf("the last answer: %s", last)
		}
	}()
	eventually(t, "all is as before", func() bool {
		last = s.fresh()
		return last == awayAlways
	})
	s.load.enter(&awayWell)
	s.load.more(t, 12)
	s.load.enter(nil)
	for _, w := range s.load.faults() {
		t.Error(w)
	}
}

// restarted ends it again and again, and starts it, under load.
func (s *awayScene) restarted(t *testing.T) {
	for i := range 6 {
		if i%2 == 0 {
			s.p.kill()
		} else {
			s.signal(syscall.SIGTERM)
			s.ends(t)
		}
		s.start()
		s.recovers(t)
	}
}

// reloaded gives it other configurations, and a broken one, under load: nobody notices.
func (s *awayScene) reloaded(t *testing.T) {
	s.load.enter(&awayWell)
	for i := range 6 {
		s.reload(t, s.text([]string{byHook, byServer}[i%2], awayLong))
		s.load.more(t, 10)
	}
	file := s.p.cmd.Args[len(s.p.cmd.Args)-1]
	if err := os.WriteFile(file, []byte("hostname = \"mx.gateway.example\"\n[smtp]\nlistne = []\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	eventually(t, "the mistake is told", func() bool { return strings.Contains(s.p.stderr.String(), file+":3:1") })
	s.load.more(t, 10)
	s.load.enter(nil)
	for _, w := range s.load.faults() {
		t.Error(w)
	}
}

// full fills the disk that has the state folder, under load: nobody notices.
func (s *awayScene) full(t *testing.T) {
	s.load.enter(&awayWell)
	ballast := filepath.Join(s.state, "ballast")
	fill(t, ballast)
	s.load.more(t, 60)
	eventually(t, "the operator is told", func() bool { return strings.Contains(s.p.stderr.String(), "full") })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.load.more(t, 10)
	s.load.enter(nil)
	for _, w := range s.load.faults() {
		t.Error(w)
	}
}

// awaySocket is a path where everybody may connect. Sendmail does not start where others could put another socket in the
// place of ours, as below a folder for all.
func awaySocket(t *testing.T) string {
	t.Helper()
	mailtest.NeedRoot(t)
	dir, err := os.MkdirTemp("/run", "mt")
	if err != nil {
		mailtest.Absent(t, "a folder for sockets: "+err.Error())
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "door")
}

// socket takes away the unix socket at which the MTA finds Backstop: the file of a process that is killed stays and is in the way
// of the next, and one that is removed leaves nobody a way to a process that is well.
func (s *awayScene) socket(t *testing.T) {
	t.Run("killed", func(t *testing.T) {
		s.p.kill()
		s.load.enter(&awayGone)
		s.load.more(t, 6)
		s.load.enter(nil)
		s.start()
		s.recovers(t)
	})
	t.Run("removed", func(t *testing.T) {
		_, path := s.network()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		// Connections that Postfix's processes keep go on; each of them that needs a new one hears that there is none.
		eventually(t, "the socket is missed", func() bool { return s.fresh() != awayAlways })
		s.signal(syscall.SIGTERM)
		s.ends(t)
		s.start()
		s.recovers(t)
	})
}

// awayDisk is a small disk for a state folder.
func awayDisk(t *testing.T) string {
	t.Helper()
	mailtest.NeedRoot(t)
	dir := mailtest.Dir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,mode=0755"); err != nil {
		mailtest.Absent(t, "the right to mount a small disk: "+err.Error())
	}
	t.Cleanup(func() { syscall.Unmount(dir, 2 /* MNT_DETACH */) })
	return dir
}
