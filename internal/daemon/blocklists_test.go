package daemon_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"backstop/internal/blocklist"
	"backstop/internal/daemon"
	"backstop/internal/mailtest"
)

// onList is the entry of an address on a list.
func onList(address, list string) string {
	return blocklist.Name(netip.MustParseAddr(address), list)
}

// watches is a configuration that watches addresses on two lists, and asks this server.
func watches(m *mailtest.Mock, d *mailtest.DNS, every, addrs string) string {
	return fmt.Sprintf("[panel]\nlisten = \"127.0.0.1:0\"\n[dns]\nresolvers = [%q]\n[blocklists]\nlists = [\"ips.backscatterer.org\", \"bl.example.org\"]\nwatch = [%s]\nevery = %q\n", d.Addr(), addrs, every) +
		relayTo("smtp://"+m.Addr(), "", "spf = \"off\"\ndmarc = \"off\"")
}

// standingOf is what the status says of an address on a list, and "" where it says nothing.
func standingOf(g *gateway, list, address string) string {
	for _, b := range g.Status().Blocklists {
		if b.List == list && b.Address == address {
			return b.Standing
		}
	}
	return ""
}

// listMetrics are the lines of /metrics about blocklists.
func listMetrics(t *testing.T, g *gateway) string {
	t.Helper()
	_, text := get(t, "tcp", g.Addrs()["panel"][0].String(), "/metrics")
	var out []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "backstop_blocklist_") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "\n")
}

// told waits until the log, which is written a moment later, has a line so many times.
func told(t *testing.T, g *gateway, what string, times int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d times in the log: %s", times, what), func() bool { return strings.Count(g.log.String(), what) >= times })
	if n := strings.Count(g.log.String(), what); n != times {
		t.Errorf("%d times in the log, want %d: %s", n, times, what)
	}
}

// TestBlocklists: what a list says shows in the status, in the metrics and once in the log; a reload changes what is watched, and
// keeps what is known.
func TestBlocklists(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	ok := onList("127.0.0.2", "ips.backscatterer.org") + " A 127.0.0.2\n"
	d := mailtest.StartDNS(t, ok+onList("192.0.2.25", "ips.backscatterer.org")+" A 127.0.0.2\n"+onList("192.0.2.25", "ips.backscatterer.org")+` TXT "blacklisted"`+"\n"+
		onList("127.0.0.2", "bl.example.org")+" A 127.255.255.254\n")
	var clock atomic.Int64
	clock.Store(time.Now().Unix())
	g := startAt(t, watches(m, d, "1h", `"192.0.2.25", "2001:db8::25"`), func() time.Time { return time.Unix(clock.Load(), 0) })
	eventually(t, "listed", func() bool { return standingOf(g, "ips.backscatterer.org", "192.0.2.25") == "listed" })
	st := g.Status()
	b := st.Blocklists[0]
	if len(st.Blocklists) != 4 || b.List != "ips.backscatterer.org" || !slices.Equal(b.Codes, []string{"127.0.0.2"}) || !slices.Equal(b.Text, []string{"blacklisted"}) || b.Since.IsZero() || b.URL == "" {
		t.Errorf("%+v", st.Blocklists)
	}
	if st.Blocklists[1].Standing != "unknown" || !strings.Contains(st.Blocklists[1].Detail, "a public one") || st.Blocklists[2].Standing != "not-covered" {
		t.Errorf("%+v", st.Blocklists)
	}
	if len(st.Wrong) != 2 || !strings.HasPrefix(st.Wrong[1], "192.0.2.25 is listed at ips.backscatterer.org, noticed ") || !strings.HasPrefix(st.Wrong[0], "blocklist bl.example.org cannot be asked since ") {
		t.Errorf("wrong: %q", st.Wrong)
	}
	if got, want := listMetrics(t, g), `backstop_blocklist_listed{address="192.0.2.25",list="ips.backscatterer.org"} 1
backstop_blocklist_up{list="bl.example.org"} 0
backstop_blocklist_up{list="ips.backscatterer.org"} 1`; got != want {
		t.Errorf("metrics:\n%s", got)
	}
	// Another address, a day later: the first is not told again.
	d.Add(onList("192.0.2.26", "ips.backscatterer.org") + " A 127.0.0.2\n")
	clock.Add(86400)
	if err := g.Reload(parse(t, watches(m, d, "1h", `"192.0.2.25", "192.0.2.26"`))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other one", func() bool { return standingOf(g, "ips.backscatterer.org", "192.0.2.26") == "listed" })
	told(t, g, "an address of ours is listed", 2)
	if standingOf(g, "ips.backscatterer.org", "2001:db8::25") != "" {
		t.Errorf("%+v", g.Status().Blocklists)
	}
	noMoreListed(t, g, m, d, ok, &clock)
}

// noMoreListed goes on: both come off, a list cannot be asked for long, and at last nothing is watched.
func noMoreListed(t *testing.T, g *gateway, m *mailtest.Mock, d *mailtest.DNS, zone string, clock *atomic.Int64) {
	d.Set(zone)
	clock.Add(86400)
	if err := g.Reload(parse(t, watches(m, d, "2h", `"192.0.2.25", "192.0.2.26"`))); err != nil { // checks at once, and bl.example.org fails the third time
		t.Fatal(err)
	}
	told(t, g, "a blocklist cannot be asked, so nobody knows", 1)
	if standingOf(g, "ips.backscatterer.org", "192.0.2.25") != "listed" || strings.Contains(g.log.String(), "no longer listed") {
		t.Errorf("one check alone ends an alarm: %+v", g.Status().Blocklists)
	}
	clock.Add(86400)
	if err := g.Reload(parse(t, watches(m, d, "90m", `"192.0.2.25", "192.0.2.26"`))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a second check", func() bool { return standingOf(g, "ips.backscatterer.org", "192.0.2.25") == "clean" })
	if st := g.Status(); len(st.Wrong) != 1 || !strings.HasPrefix(st.Wrong[0], "blocklist bl.example.org cannot be asked since ") {
		t.Errorf("wrong: %q", st.Wrong)
	}
	if got := listMetrics(t, g); !strings.Contains(got, `backstop_blocklist_listed{address="192.0.2.25",list="ips.backscatterer.org"} 0`) {
		t.Errorf("metrics:\n%s", got)
	}
	asked := d.Asked("")
	if err := g.Reload(parse(t, watches(m, d, "3h", ""))); err != nil {
		t.Fatal(err)
	}
	if st := g.Status(); len(st.Blocklists) != 0 || len(st.Wrong) != 0 || listMetrics(t, g) != "" || d.Asked("") != asked {
		t.Errorf("it watches on: %+v", st)
	}
	stop(t, g)
	told(t, g, "an address of ours is listed", 2)
	told(t, g, "an address of ours is no longer listed", 2)
	told(t, g, "a blocklist cannot be asked, so nobody knows", 1)
}

// TestBlocklistsUnchanged: a reload that changes something else neither asks again nor forgets.
func TestBlocklistsUnchanged(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	d := mailtest.StartDNS(t, onList("127.0.0.2", "ips.backscatterer.org")+" A 127.0.0.2\n"+onList("127.0.0.2", "bl.example.org")+" A 127.0.0.2\n")
	g := start(t, watches(m, d, "1h", `"192.0.2.25"`))
	eventually(t, "both", func() bool {
		return standingOf(g, "ips.backscatterer.org", "192.0.2.25") == "clean" && standingOf(g, "bl.example.org", "192.0.2.25") == "clean"
	})
	asked := d.Asked("")
	if err := g.Reload(parse(t, "mode = \"watch\"\n"+watches(m, d, "1h", `"192.0.2.25"`))); err != nil {
		t.Fatal(err)
	}
	if standingOf(g, "bl.example.org", "192.0.2.25") != "clean" || d.Asked("") != asked {
		t.Errorf("%+v, asked %d times more", g.Status().Blocklists, d.Asked("")-asked)
	}
}

// TestBlocklistsStop: a watch in the middle of a question, at a reload and at the end, leaves nothing running, and what was cut off
// is no finding. Offline nobody is asked.
func TestBlocklistsStop(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	d, other := mailtest.StartDNS(t, ""), mailtest.StartDNS(t, "")
	before := goleak.IgnoreCurrent()
	g := &gateway{}
	for _, s := range []*mailtest.DNS{d, other} {
		for _, list := range []string{"ips.backscatterer.org", "bl.example.org"} {
			s.Fail(onList("127.0.0.2", list), mailtest.DNSSilent)
		}
		if s == d {
			g = start(t, watches(m, d, "1h", `"192.0.2.25"`))
		} else if err := g.Reload(parse(t, watches(m, other, "1h", `"192.0.2.25"`))); err != nil { // another resolver
			t.Fatal(err)
		}
		s.Wait(t, "the first question", func(s *mailtest.DNS) bool { return s.Asked("") >= 2 })
	}
	stop(t, g)
	if st := g.Status(); standingOf(g, "bl.example.org", "192.0.2.25") != "unknown" || strings.Contains(fmt.Sprint(st.Wrong), "blocklist") || strings.Contains(g.log.String(), "a blocklist") {
		t.Errorf("%+v %q\n%s", st.Blocklists, st.Wrong, g.log)
	}
	goleak.VerifyNone(t, before)
	offline, err := daemon.New(parse(t, watches(m, d, "1h", `"192.0.2.25"`)), daemon.Options{Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	if st := offline.Status(); len(st.Blocklists) != 0 {
		t.Errorf("%+v", st.Blocklists)
	}
	if err := offline.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
