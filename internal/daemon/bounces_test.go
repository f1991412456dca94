package daemon_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backstop/internal/daemon"
	"backstop/internal/mailtest"
	"backstop/internal/store/sqlite"
	"backstop/internal/tally"
)

// counted makes a state folder in which these lines were counted, the days as so many before now.
func counted(t *testing.T, now time.Time, lines ...tally.Line) string {
	t.Helper()
	state := t.TempDir()
	s, err := sqlite.Open(state, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		lines[i].Day = tally.DayOf(now) - lines[i].Day
	}
	if err := errors.Join(s.AddTally(t.Context(), lines), s.Close()); err != nil {
		t.Fatal(err)
	}
	return state
}

func in(ago tally.Day, domain, verdict, kind, by, sender string, n uint64) tally.Line {
	return tally.Line{Entry: tally.Entry{Day: ago, Direction: tally.In, Domain: domain, Verdict: verdict, Kind: kind, By: by, Sender: sender}, Count: n}
}

func out(ago tally.Day, domain, server, verdict, kind, by string, n uint64) tally.Line {
	e := tally.Entry{Day: ago, Direction: tally.Out, Domain: domain, Verdict: verdict, Kind: kind, By: by}
	if server != "" {
		e.Server = netip.MustParseAddr(server)
	}
	return tally.Line{Entry: e, Count: n}
}

var summer = time.Date(2026, 7, 9, 0, 0, 1, 0, time.UTC)

func TestBounceReport(t *testing.T) {
	state := counted(t, summer,
		in(0, "example.com", tally.Proven, "bounce", "seal", "", 100), in(6, "example.com", tally.Proven, "bounce", "tag", "", 20),
		in(1, "example.com", tally.Unproven, "bounce", "", "spam.example.net", 38), in(2, "example.com", tally.Unproven, "receipt", "", "friend.example.org", 3),
		in(2, "example.com", tally.Unproven, "bounce", "", "friend.example.org", 1), in(2, "example.org", tally.Exempt, "auto-reply", "", "", 4),
		in(2, "example.org", tally.Refused, "bounce", "", "", 5), in(2, "example.org", tally.Unknown, "bounce", "", "", 1),
		in(7, "example.com", tally.Unproven, "bounce", "", "too.old.example.net", 1000),
		out(0, "example.com", "10.0.0.7", tally.Redirected, "bounce", "", 300), out(3, "example.com", "10.0.0.7", tally.Refused, "bounce", "", 10),
		out(3, "example.com", "10.0.0.7", tally.Unproven, "auto-reply", "", 2), out(3, "example.com", "10.0.0.7", tally.Proven, "bounce", "origin", 9),
		out(3, "example.org", "10.0.0.8", tally.Proven, "auto-reply", "heard", 4), out(1, "example.org", "", tally.Unproven, "auto-reply", "", 1),
		out(1, "example.org", "10.0.0.8", tally.Unknown, "bounce", "", 1),
	)
	for _, tt := range []struct {
		domain, in, out string
		senders         int
	}{
		{"", `enforcing would have refused 42 messages in 7 days; among them are 3 receipts, which people may miss
these look legitimate, by the domain in their From: friend.example.org (3 receipts and 1 bounce); name in bounces_exempt whom you know
1 message could not be judged, because the record of seen mail could not be read: the log says why`,
			`10.0.0.7 (example.com) sent 310 bounces and 2 automatic replies to people who never wrote, as far as anything proves (2 left, 300 went to bounce_to, 10 refused): it accepts unknown users. Make it refuse them at RCPT, or let Backstop ask it
other servers (example.org) sent 1 automatic reply to people who never wrote, as far as anything proves (1 left): switch such answers off there, at least to mail from outside
1 message could not be judged, because the record of seen mail could not be read: the log says why`, 3},
		{"example.org", `5 messages were refused in 7 days, and nothing passed unproven
1 message could not be judged, because the record of seen mail could not be read: the log says why`,
			`other servers (example.org) sent 1 automatic reply to people who never wrote, as far as anything proves (1 left): switch such answers off there, at least to mail from outside
1 message could not be judged, because the record of seen mail could not be read: the log says why`, 1},
		{"example.net", "no bounce and no other automatic mail came in within 7 days", "no server of yours sent automatic mail through Backstop within 7 days", 0},
	} {
		r, err := daemon.ReadBounces(t.Context(), state, 7, tt.domain, summer)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.In.Words, "\n"); got != tt.in {
			t.Errorf("%s in:\n%s\nwant\n%s", tt.domain, got, tt.in)
		}
		if got := strings.Join(r.Out.Words, "\n"); got != tt.out {
			t.Errorf("%s out:\n%s\nwant\n%s", tt.domain, got, tt.out)
		}
		if len(r.In.Senders) != tt.senders || r.Since.String() != "2026-07-03" || r.Empty() != (tt.domain == "example.net") {
			t.Errorf("%s: %+v", tt.domain, r)
		}
	}
	if r, err := daemon.ReadBounces(t.Context(), state, 8, "", summer); err != nil || r.In.WouldRefuse != 1042 {
		t.Errorf("of a day more: %+v, %v", r.In, err)
	}
	if _, err := daemon.ReadBounces(t.Context(), t.TempDir(), 7, "", summer); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where there is no store: %v", err)
	}
	for _, n := range []int{0, -1, tally.KeepDays + 2} {
		if _, err := daemon.ReadBounces(t.Context(), state, n, "", summer); err == nil {
			t.Errorf("%d days were reported", n)
		}
	}
}

// TestManyServersAndSenders: the words stay few.
func TestManyServersAndSenders(t *testing.T) {
	var lines []tally.Line
	for i := range 12 {
		lines = append(lines,
			out(0, "example.com", netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String(), tally.Unproven, "bounce", "", uint64(100-i)),
			in(0, "example.com", tally.Unproven, "auto-reply", "", string(rune('a'+i))+".example.net", uint64(100-i)))
	}
	r, err := daemon.ReadBounces(t.Context(), counted(t, summer, lines...), 1, "", summer)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Out.Words); n != 6 || !strings.HasPrefix(r.Out.Words[0], "10.0.0.0 ") || r.Out.Words[5] != "7 more servers did so: see the table" {
		t.Errorf("%d: %q", n, r.Out.Words)
	}
	if len(r.In.Words) != 2 || !strings.Contains(r.In.Words[1], "e.example.net (96 automatic replies), and 7 more;") {
		t.Errorf("%q", r.In.Words)
	}
}

// TestBouncesOfTheRunningDaemon asks by the control socket, and reads the same after its end.
func TestBouncesOfTheRunningDaemon(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	state := counted(t, time.Now(), in(0, "example.com", tally.Unproven, "receipt", "", "example.net", 1))
	g := start(t, "state = \""+state+"\"\n"+relayTo("smtp://"+m.Addr(), "", ""))
	socket := filepath.Join(state, daemon.SocketName)
	send(t, open(t, g.addr), "", "alice@example.com", receipt, "250") // of a letter that never left here
	code, text := get(t, "unix", socket, "/bounces?days=2&domain=Example.com")
	var r daemon.BounceReport
	if err := json.Unmarshal([]byte(text), &r); err != nil || code != 200 || r.In.WouldRefuse != 2 || len(r.In.Senders) != 2 || !r.In.Senders[0].Likely || r.In.Senders[1].Sender != "example.org" {
		t.Errorf("%d: %s (%v)", code, text, err)
	}
	for _, query := range []string{"", "days=x", "days=0", "days=400", "days=7&domain=a..b"} {
		if code, text := get(t, "unix", socket, "/bounces?"+query); code != 400 || !strings.Contains(text, `"hint":"`) {
			t.Errorf("%q: %d %s", query, code, text)
		}
	}
	g.stopNow(t)
	if r, err := daemon.ReadBounces(t.Context(), state, 2, "example.com", time.Now()); err != nil || r.In.WouldRefuse != 2 {
		t.Errorf("after its end: %+v, %v", r, err)
	}
}
