package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"backstop/internal/daemon"
	"backstop/internal/guide"
	"backstop/internal/journal"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// way is one by which mail comes to the rules: the gateway itself, or an MTA that asks at one of the doors.
type way struct {
	name string // as docs/beside.md has it
	door string // as the log has it
	kind string // of the MTA; "": there is none
	plug string // the section that the lines of `setup` plug it into
}

var allWays = []way{
	{gatewayItself, "smtp", "", ""},
	{postfixMilter, "milter", "postfix", "milter"},
	{postfixPolicy, "policy", "postfix", "policy"},
	{postfixSocketmap, "socketmap", "postfix", "socketmap"},
	{postfixTable, "socketmap", "postfix", "tcp_table"},
	{sendmailMilter, "milter", "sendmail", "milter"},
	{eximHTTP, "http", "exim", "panel"},
}

// TestBeside plays the same dialogues in every way, and wants the same said and logged, but for what the table of
// differences has.
func TestBeside(t *testing.T) {
	for _, w := range allWays {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, w)
			used := map[int]bool{}
			for i := range plays {
				if !plays[i].goes(w) {
					continue
				}
				t.Run(plays[i].name, func(t *testing.T) { s.play(t, &plays[i], used) })
			}
			if t.Failed() {
				return
			}
			for i := range differences {
				if d := &differences[i]; d.holds(w) && !used[i] {
					t.Errorf("nothing differs so: %s (%s)", d.says, d.when)
				}
			}
		})
	}
}

// scene is a Backstop, with the MTA that asks it.
type scene struct {
	way
	gate  *gateway
	log   *journal.Journal
	read  int // octets of its log
	addr  string
	clock *clock
	state string
	names string
	store string // where the gateway delivers
	files map[string]string
}

func newScene(t *testing.T, w way) *scene {
	t.Helper()
	dir := t.TempDir()
	away := mailtest.NewMock(t, mailtest.Script{})
	away.Down()
	s := &scene{way: w, clock: newClock(), state: t.TempDir(), names: mailtest.StartDNS(t, senderZone).Addr().String(),
		store: mailtest.NewMock(t, mailtest.Script{}).Addr(), files: map[string]string{
			"{away}":   away.Addr(),
			"{few}":    mailtest.WriteFile(t, dir, "few", "alice\n"),
			"{users}":  mailtest.WriteFile(t, dir, "users", strings.Join(rig.Users(), "\n")+"\n"),
			"{access}": mailtest.WriteFile(t, dir, "access", accessLines),
		}}
	s.start(t)
	if w.kind == "" {
		s.addr = s.gate.addr
		return s
	}
	b := rig.OpenBeside(t, w.kind, pasted(t, s.gate, s.config(&play{}), w))
	b.Store.Change(func(s *mailtest.Script) { s.Users = nil }) // nobody hears of a bounce, which would be judged as well
	s.addr = b.Addr
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", w.kind, b.Log())
		}
	})
	return s
}

// start is the one of gateway_test.go with a journal that can be flushed.
func (s *scene) start(t *testing.T) {
	t.Helper()
	g := &gateway{log: &syncBuffer{}}
	s.log = journal.New(g.log, journal.JSON)
	d, err := daemon.New(parse(t, s.config(&play{})), daemon.Options{Journal: s.log, Now: s.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.Daemon, s.gate = d, g
	g.addr = d.Addrs()["smtp"][0].String()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), mailtest.Patience)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		s.log.Close()
	})
}

// config is what a play wants, for all doors at once.
func (s *scene) config(p *play) string {
	domain := p.domain
	if !strings.Contains(domain, "recipients =") {
		domain += "\nrecipients = [\"list:{users}\"]"
	}
	for name, file := range s.files {
		domain = strings.ReplaceAll(domain, name, file)
	}
	return fmt.Sprintf(`state = %q
%s
[smtp]
listen = ["127.0.0.1:0"]
xclient = ["127.0.0.9/32"]
blocked = ["127.0.0.66/32"]
[dns]
resolvers = [%q]
[milter]
listen = "inet:127.0.0.1:0"
internal = ["127.0.0.1/32"]
[policy]
listen = "127.0.0.1:0"
[socketmap]
listen = "127.0.0.1:0"
[tcp_table]
listen = "127.0.0.1:0"
map = "recipients"
[panel]
listen = "127.0.0.1:0"
[outbound]
listen = ["127.0.0.1:0"]
clients = ["127.0.0.1/32"]
relay = "smtp://%s"
[[domain]]
name = "example.com"
relay = "smtp://%s"
%s
`, s.state, p.global, s.names, s.store, s.store, domain)
}

// pasted are the lines that `setup` prints for a configuration whose doors are open, where they belong.
func pasted(t testing.TB, g *gateway, text string, w way) rig.Pasted {
	t.Helper()
	at := g.Addrs()
	for _, door := range []string{"milter", "policy", "socketmap", "tcp_table", "panel"} {
		if len(at[door]) == 0 {
			continue
		}
		head, tail, ok := strings.Cut(text, "["+door+"]")
		if !ok {
			t.Fatalf("no [%s] in the configuration", door)
		}
		text = head + "[" + door + "]" + strings.Replace(tail, "127.0.0.1:0", at[door][0].String(), 1)
	}
	made, err := guide.For(w.kind, guide.Place{Config: parse(t, text), Door: w.plug})
	if err != nil {
		t.Fatal(err)
	}
	var p rig.Pasted
	for _, step := range made.Steps {
		if step.File != "" {
			p.Add(t, step.File, step.Lines...)
		}
	}
	return p
}

// reload is a play's own configuration, and the time at which it is played.
func (s *scene) reload(t *testing.T, p *play) {
	t.Helper()
	cfg := parse(t, s.config(p))
	if err := s.gate.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	s.clock.forward(p.later)
	s.decided(t)
}

// play plays one dialogue. What must be said at this turn is what the gateway says, changed by the differences of this way.
func (s *scene) play(t *testing.T, p *play, used map[int]bool) {
	s.reload(t, p)
	turns := p.turns(t)
	addr := s.addr
	if p.outbound && s.kind == "" {
		addr = s.gate.Addrs()["outbound"][0].String()
	}
	k := mailtest.DialFrom(t, addr, p.client())
	defer k.Close()
	known := transaction{}
	for i := range turns {
		turn := &turns[i]
		known.follow(turn)
		got := outcome(s.say(t, k, turn), s.decided(t))
		want := turn.want
		for n := range differences {
			if d := &differences[n]; d.holds(s.way) && d.about(p, turn) {
				if changed := d.of(want, turn, known); changed != want {
					want, used[n] = changed, true
				}
			}
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", turn.say, got, want)
		}
	}
}

// say sends what the turn has, and returns the reply without what differs every time.
func (s *scene) say(t *testing.T, k *mailtest.Talk, turn *turn) string {
	t.Helper()
	text := turn.say
	if name, ok := strings.CutPrefix(text, ". "); ok {
		text = messages[name] + "."
	}
	if text == login {
		if s.kind == "" {
			text = "XCLIENT LOGIN=alice"
		} else {
			rig.LogIn(t, k, "alice")
			return "220"
		}
	}
	if text != connect {
		if err := k.Send(text + "\r\n"); err != nil {
			return closed
		}
	}
	r, err := k.Reply()
	if err != nil {
		return closed
	}
	return said(r)
}

const closed = "closed"

var (
	identifier = regexp.MustCompile(` \[[0-9A-Za-z_-]{6,}\]`)
	about      = regexp.MustCompile(`\. (?:IP name lookup failed|Proper authentication|Cannot resolve PTR).*`) // what Sendmail knows of the client
	enhanced   = regexp.MustCompile(`^[245]\.\d+\.\d+ `)
)

// said is a reply on one line. Of those that say yes only the code counts: the words are the MTA's own.
func said(r mailtest.Reply) string {
	if r.Code < 400 {
		return fmt.Sprint(r.Code)
	}
	if r.Code == 503 { // what cannot come now
		return "503"
	}
	lines := make([]string, len(r.Lines))
	for i, l := range r.Lines {
		if i > 0 {
			l = enhanced.ReplaceAllString(l, "")
		}
		lines[i] = l
	}
	return fmt.Sprint(r.Code) + " " + about.ReplaceAllString(identifier.ReplaceAllString(strings.Join(lines, " "), ""), "")
}

// decided reads what was decided since it was last asked: stage, effect and rule of each line, which must be of this door.
func (s *scene) decided(t *testing.T) []string {
	t.Helper()
	s.log.Flush()
	text := s.gate.log.String()[s.read:]
	s.read += len(text)
	var all []string
	for line := range strings.Lines(text) {
		var d struct{ Msg, Door, Stage, Rule, Watched string }
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if d.Rule == "" {
			continue
		}
		if d.Door != s.door && !(s.kind == "" && d.Door == "outbound") {
			t.Errorf("decided at another door: %s", line)
		}
		word := d.Stage + " " + d.Msg + " " + d.Rule
		if d.Watched != "" {
			word += " watched " + d.Watched
		}
		if d.Stage != "data" || !slices.Contains(all, word) { // a message has a line for each recipient
			all = append(all, word)
		}
	}
	return all
}

// outcome is a reply with the lines of the log.
func outcome(reply string, log []string) string { return reply + " | " + strings.Join(log, ", ") }
