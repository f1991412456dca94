package daemon_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backstop/internal/bouncereport"
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

var summer = time.Date(2026, 7, 9, 0, 0, 1, 0, time.UTC)

// TestReadBounces: the days and the domain that were asked for, and no others.
func TestReadBounces(t *testing.T) {
	state := counted(t, summer,
		in(0, "example.com", tally.Unproven, "bounce", "", "spam.example.net", 38), in(6, "example.com", tally.Unproven, "receipt", "", "friend.example.org", 4),
		in(7, "example.com", tally.Unproven, "bounce", "", "too.old.example.net", 1000), in(2, "example.org", tally.Unproven, "bounce", "", "", 1),
	)
	for domain, want := range map[string]uint64{"": 43, "example.com": 42, "example.org": 1, "example.net": 0} {
		r, err := daemon.ReadBounces(t.Context(), state, 7, domain, summer)
		if err != nil || r.In.WouldRefuse != want || r.Since.String() != "2026-07-03" || r.Days != 7 || r.Domain != domain {
			t.Errorf("%s: %+v, %v", domain, r, err)
		}
	}
	if r, err := daemon.ReadBounces(t.Context(), state, 8, "", summer); err != nil || r.In.WouldRefuse != 1043 {
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

// TestBouncesOfTheRunningDaemon asks by the control socket, and reads the same after its end.
func TestBouncesOfTheRunningDaemon(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	state := counted(t, time.Now(), in(0, "example.com", tally.Unproven, "receipt", "", "example.net", 1))
	g := start(t, "state = \""+state+"\"\n"+relayTo("smtp://"+m.Addr(), "", ""))
	socket := filepath.Join(state, daemon.SocketName)
	send(t, open(t, g.addr), "", "alice@example.com", receipt, "250") // of a letter that never left here
	code, text := get(t, "unix", socket, "/bounces?days=2&domain=Example.com")
	var r bouncereport.Report
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
