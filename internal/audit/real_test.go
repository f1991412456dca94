package audit_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/audit"
	"backstop/internal/maillog"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// letter is one that is given to a server that says yes to everybody.
type letter struct {
	from string
	to   []string
}

// letters are n of them, of every kind. What becomes of one is told by its sender: cause.number@domain.
func letters(n int) []letter {
	var all []letter
	for i := range n {
		who := func(cause string) string { return fmt.Sprintf("%s.%d@d%d.test", cause, i%(n*9/10), i%37) }
		switch i % 20 {
		case 0, 1, 2, 3, 4, 5, 6, 7:
			all = append(all, letter{who("unknown-user"), []string{fmt.Sprintf("nobody%d@example.net", i)}})
		case 8, 9, 10:
			all = append(all, letter{who("fine"), []string{"alice@example.net"}})
		case 11, 12:
			all = append(all, letter{who("over-quota"), []string{"full@example.net"}})
		case 13:
			all = append(all, letter{who("loop"), []string{"loop@example.net"}})
		case 14:
			all = append(all, letter{who("content"), []string{"virus@example.net"}})
		case 15:
			all = append(all, letter{"alice@example.net", []string{"nobody@example.net"}})
		case 16:
			all = append(all, letter{"", []string{fmt.Sprintf("carol%d@relayed.test", i)}})
		case 17:
			all = append(all, letter{"", []string{"nobody@example.net"}})
		case 18:
			all = append(all, letter{fmt.Sprintf("refused%d@d%d.test", i, i%37), []string{"nobody@example.net"}})
		case 19:
			all = append(all, letter{who("unknown-user"), []string{"nobody@example.net", "alice@example.net", "noone@example.net"}})
		}
	}
	all = append(all, letter{"late1@late.test", []string{"late@example.net"}}, letter{"late2@late.test", []string{"late@example.net"}})
	return all
}

// truth is what really arrived.
type truth struct {
	backscatter, ownUsers, relayed, delays, refused int
	strangers                                       map[string]bool
	receivers, causes                               map[string]int
}

// played is a server with its log, and what arrived at the sinks.
type played struct {
	kind string
	log  string
	truth
}

// play gives n letters to a server and waits until all that had to arrive did.
func play(t *testing.T, kind string, n int) played {
	t.Helper()
	outside := mailtest.NewMock(t, mailtest.Script{})
	outside.On(mailtest.Rule{On: "RCPT", Match: regexp.MustCompile("<refused"), Reply: "550 5.7.1 not wanted here"})
	b := rig.StartBouncer(t, rig.BouncerOptions{Kind: kind, Domain: "example.net", Users: []string{"alice", "late", "full", "virus", "loop"},
		Relay: outside.Addr(), Warn: true, Syslog: true})
	for user, reply := range map[string]string{"full": "552 5.2.2 Mailbox is full", "loop": "554 5.4.6 Too many hops 26 (25 max)", "late": "450 4.2.0 later"} {
		b.Store.On(mailtest.Rule{On: "RCPT", Match: regexp.MustCompile("<" + user), Reply: reply})
	}
	b.Store.On(mailtest.Rule{On: "DOT", Match: regexp.MustCompile("virus"), Reply: "554 5.7.1 message content rejected"})
	all := letters(n)
	send(t, b.Addr, all)
	p := played{kind: kind}
	p.expect(all)
	arrive(t, outside, "the warnings of a delay", 2, func(m *mailtest.Message) bool { return strings.HasSuffix(m.To[0].Path, "@late.test") })
	b.Store.Change(func(s *mailtest.Script) {
		s.Rules = slices.DeleteFunc(s.Rules, func(r mailtest.Rule) bool { return r.Match.String() == "<late" })
	})
	if kind != "opensmtpd" { // which takes its time, and warns once
		arrive(t, b.Store, "what was late", 2, func(m *mailtest.Message) bool { return strings.HasPrefix(m.To[0].Path, "late") })
	}
	arrive(t, outside, "bounces", p.backscatter+p.relayed, func(m *mailtest.Message) bool { return m.From == "" && !strings.HasSuffix(m.To[0].Path, "@late.test") })
	arrive(t, b.Store, "bounces to own users", p.ownUsers, func(m *mailtest.Message) bool { return m.From == "" })
	p.arrived(outside, b.Store)
	p.log = settled(t, b, p.truth)
	return p
}

// expect says how many there will be, so that one knows when to look.
func (p *played) expect(all []letter) {
	for _, l := range all {
		switch {
		case l.from == "alice@example.net":
			p.ownUsers++
		case strings.HasPrefix(l.from, "late"):
		case l.from == "" && strings.HasPrefix(l.to[0], "carol"):
			p.relayed++
		case strings.HasPrefix(l.from, "refused"):
			p.refused++
		case l.from != "" && !strings.HasPrefix(l.from, "fine"):
			p.backscatter++
		}
	}
}

// arrived counts what the sinks hold.
func (p *played) arrived(outside, store *mailtest.Mock) {
	p.truth = truth{refused: p.refused, strangers: map[string]bool{}, receivers: map[string]int{}, causes: map[string]int{}}
	for _, m := range outside.Messages() {
		to := m.To[0].Path
		cause, _, _ := strings.Cut(to, ".")
		_, domain, _ := strings.Cut(to, "@")
		switch {
		case m.From != "":
		case domain == "relayed.test":
			p.relayed++
		case domain == "late.test":
			p.delays++
		default:
			p.backscatter++
			p.strangers[to] = true
			p.receivers[domain]++
			p.causes[cause]++
		}
	}
	for _, m := range store.Messages() {
		if m.From == "" {
			p.ownUsers++
		}
	}
}

// send gives letters to a server, ten at a time and several a session.
func send(t *testing.T, addr string, all []letter) {
	t.Helper()
	var wg sync.WaitGroup
	for part := range slices.Chunk(all, len(all)/10+1) {
		wg.Go(func() {
			for some := range slices.Chunk(part, 8) {
				session(t, addr, some)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func session(t *testing.T, addr string, some []letter) {
	k := mailtest.Dial(t, addr)
	defer k.Close()
	ask := func(say string, code int) {
		if r := k.Ask(t, say); r.Code != code {
			t.Errorf("%.80q: %s", say, r)
		}
	}
	k.Expect(t, "220", "banner")
	ask("EHLO x.test", 250)
	for _, l := range some {
		ask("MAIL FROM:<"+l.from+">", 250)
		for _, to := range l.to {
			ask("RCPT TO:<"+to+">", 250)
		}
		ask("DATA", 354)
		ask(fmt.Sprintf("Subject: to %s\r\nMessage-ID: <%d@x.test>\r\n\r\nHello\r\n.", l.to[0], rand.Uint64()), 250)
	}
	ask("QUIT", 221)
}

// arrive waits until a sink holds n messages of a kind. Each score of them may take as long as tests wait.
func arrive(t *testing.T, sink *mailtest.Mock, what string, n int, kind func(*mailtest.Message) bool) {
	t.Helper()
	for i := min(20, n); ; i = min(i+20, n) {
		sink.Wait(t, fmt.Sprintf("%s: %d of %d", what, i, n), func(m *mailtest.Mock) bool {
			got := 0
			for _, x := range m.Messages() {
				if kind(&x) {
					got++
				}
			}
			return got >= i
		})
		if i == n {
			return
		}
	}
}

// settled returns the log when it has as many bounces as arrived: it is written by other processes.
func settled(t *testing.T, b *rig.Bouncer, want truth) string {
	t.Helper()
	deadline := time.Now().Add(mailtest.Patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		log := b.Maillog()
		r := read(t, audit.Options{Domains: []string{"example.net"}}, log)
		if r.Left >= want.backscatter+want.ownUsers && r.Relayed >= want.relayed && r.Refused >= want.refused {
			return log
		}
		if time.Now().After(deadline) {
			t.Logf("%s: the log has not all that arrived: %+v, %+v", b.Kind, r, want)
			return log
		}
		<-tick.C
	}
}

// read counts logs.
func read(t testing.TB, o audit.Options, logs ...string) *audit.Report {
	t.Helper()
	c := audit.New(o)
	p := maillog.NewParser(time.Local, time.Now())
	for _, log := range logs {
		p.Written(time.Now())
		var e maillog.Event
		err := maillog.Scan(strings.NewReader(log), func(line []byte) bool {
			p.Parse(line, &e)
			c.Add(&e)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return c.Report()
}

func (w *truth) add(o *truth) {
	w.backscatter += o.backscatter
	w.ownUsers += o.ownUsers
	w.relayed += o.relayed
	w.delays += o.delays
	w.refused += o.refused
	for s := range o.strangers {
		w.strangers[s] = true
	}
	for d, n := range o.receivers {
		w.receivers[d] += n
	}
	for c, n := range o.causes {
		w.causes[c] += n
	}
}

// compare holds a report to what arrived.
func compare(t *testing.T, name string, r *audit.Report, w *truth) {
	t.Helper()
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"bounces to strangers", r.Backscatter, w.backscatter}, {"strangers", r.Strangers, len(w.strangers)}, {"domains", r.Domains, len(w.receivers)},
		{"bounces to own users", r.OwnUsers, w.ownUsers}, {"refused by the receiver", r.Refused, w.refused},
		{"relayed", r.Relayed, w.relayed}, {"delays", r.Delays, w.delays}, {"not delivered", r.Waiting, 0}, {"unexplained", r.Headless, 0},
		{"forgotten", r.Forgotten, 0}, {"not understood", r.Lines.NotUnderstood, 0}, {"written", r.Written, w.backscatter + w.ownUsers + w.refused},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s: %d, and %d is true", name, c.what, c.got, c.want)
		}
	}
	receivers, causes, days := map[string]int{}, map[string]int{}, 0
	for _, c := range r.Receivers {
		receivers[c.Name] = c.Count
	}
	for _, c := range r.Causes {
		causes[c.Name] = c.Count
	}
	for _, c := range r.Days {
		days += c.Count
	}
	if !maps.Equal(receivers, w.receivers) || !maps.Equal(causes, w.causes) || days != w.backscatter {
		t.Errorf("%s: by domain %v, by cause %v, in %d days; true are %v, %v, %d", name, receivers, causes, days, w.receivers, w.causes, w.backscatter)
	}
	if atRcpt := w.causes["unknown-user"] + w.causes["over-quota"] + w.causes["loop"]; name != "sendmail" && name != "opensmtpd" && name != "all" && (r.AtRcpt != atRcpt || r.AtData != w.causes["content"]) {
		t.Errorf("%s: %d would have been refused at RCPT and %d after DATA; true are %d and %d", name, r.AtRcpt, r.AtData, atRcpt, w.causes["content"])
	}
	if r.Remaining != 0 {
		t.Errorf("%s: %d remaining", name, r.Remaining)
	}
}

// TestRealServers: what audit counts in the logs of real servers is what really arrived, of each server and of all of them
// in one file.
func TestRealServers(t *testing.T) {
	many := map[string]int{"postfix": 1000, "exim": 500, "sendmail": 500, "opensmtpd": 160} // as quick as they are
	var all []played
	for _, kind := range rig.Bouncers() {
		t.Run(kind, func(t *testing.T) {
			p := play(t, kind, many[kind])
			if dir := os.Getenv("BACKSTOP_KEEP_LOGS"); dir != "" {
				os.WriteFile(filepath.Join(dir, kind+".log"), []byte(p.log), 0o644)
			}
			o := audit.Options{}
			if kind == "opensmtpd" {
				o.Domains = []string{"example.net"} // its log does not tell the store from the world
			}
			r := read(t, o, p.log)
			compare(t, kind, r, &p.truth)
			if !slices.Equal(r.Own, []string{"example.net"}) {
				t.Errorf("its own domains are %v", r.Own)
			}
			all = append(all, p)
		})
	}
	if t.Failed() || len(all) < 2 {
		return
	}
	t.Run("merged", func(t *testing.T) { merged(t, all) })
}

// merged reads all logs as one file, line by line in turn, and as files one after another.
func merged(t *testing.T, all []played) {
	want := truth{strangers: map[string]bool{}, receivers: map[string]int{}, causes: map[string]int{}}
	var lines [][]string
	var logs []string
	for _, p := range all {
		want.add(&p.truth)
		lines = append(lines, strings.SplitAfter(p.log, "\n"))
		logs = append(logs, p.log)
	}
	var one bytes.Buffer
	for len(lines) > 0 {
		i := rand.IntN(len(lines))
		one.WriteString(lines[i][0])
		if lines[i] = lines[i][1:]; len(lines[i]) == 0 {
			lines = slices.Delete(lines, i, i+1)
		}
	}
	o := audit.Options{Domains: []string{"example.net"}}
	compare(t, "all", read(t, o, one.String()), &want)
	compare(t, "all", read(t, o, logs...), &want)
	slices.Reverse(logs)
	compare(t, "all", read(t, o, logs...), &want)
}
