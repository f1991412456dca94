package metrics

import (
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/evidence"
)

// page is what /metrics answers.
func page(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func has(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains("\n"+page, "\n"+l+"\n") {
			t.Errorf("no line %q in\n%s", l, ours(page))
		}
	}
}

// ours is the page without Go's and the process's own figures.
func ours(page string) string {
	var b strings.Builder
	for l := range strings.Lines(page) {
		if strings.HasPrefix(l, "backstop_") {
			b.WriteString(l)
		}
	}
	return b.String()
}

func TestDecisionsByTheirLabels(t *testing.T) {
	m := New([]string{"accept", "refuse"}, []string{"recipient-missing", "accepted"})
	for range 3 {
		m.Decision(evidence.DoorSMTP, evidence.StageRcpt, 1, 0)
	}
	m.Decision(evidence.DoorHTTP, evidence.StageData, 0, 1)
	m.Decision(evidence.DoorExplain, evidence.StageData, 0, 99)
	m.Decision(evidence.DoorExplain, evidence.StageData, -1, -1)
	m.Decision(evidence.Door(200), evidence.StageData, 0, 0)
	p := page(t, m)
	has(t, p,
		`backstop_decisions_total{door="smtp",rule="recipient-missing",stage="rcpt",verdict="refuse"} 3`,
		`backstop_decisions_total{door="http",rule="accepted",stage="data",verdict="accept"} 1`,
		`backstop_decisions_total{door="explain",rule="unknown",stage="data",verdict="accept"} 1`,
		`backstop_decisions_total{door="explain",rule="unknown",stage="data",verdict="unknown"} 1`)
	want := []Count{{"refuse", "recipient-missing", 3}, {"accept", "accepted", 1}, {"accept", "unknown", 1}, {"unknown", "unknown", 1}}
	if got := m.Decisions(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got, want := m.Doors(), map[string]uint64{"smtp": 3, "http": 1, "explain": 2}; !maps.Equal(got, want) {
		t.Errorf("by door %v, want %v", got, want)
	}
	if n := strings.Count(p, "\nbackstop_decisions_total{"); n != 4 {
		t.Errorf("%d series: what never happened is not listed", n)
	}
}

func TestDecisionAllocatesNothing(t *testing.T) {
	m := New([]string{"refuse"}, []string{"recipient-missing"})
	if n := testing.AllocsPerRun(100, func() { m.Decision(evidence.DoorSMTP, evidence.StageRcpt, 0, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	s := m.Source("list:users")
	if n := testing.AllocsPerRun(100, func() { s.Looked(evidence.Exists, time.Microsecond) }); n != 0 {
		t.Errorf("a look-up: %v allocations", n)
	}
}

func TestCountingFromManySides(t *testing.T) {
	m := New([]string{"refuse"}, []string{"recipient-missing"})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				m.Decision(evidence.DoorSMTP, evidence.StageRcpt, 0, 0)
				m.Source("s").Looked(evidence.Missing, time.Millisecond)
			}
		})
	}
	all.Wait()
	has(t, page(t, m),
		`backstop_decisions_total{door="smtp",rule="recipient-missing",stage="rcpt",verdict="refuse"} 8000`,
		`backstop_lookup_seconds_count{source="s",standing="missing"} 8000`)
}

func TestSessionsSourcesDownstreamsBounces(t *testing.T) {
	m := New(nil, nil)
	m.SessionOpened(evidence.DoorSMTP)
	m.SessionOpened(evidence.DoorSMTP)
	m.SessionClosed(evidence.DoorSMTP)
	m.SessionOpened(evidence.DoorNone) // no door, and no harm
	m.Source("corp").Looked(evidence.Exists, 2*time.Second)
	m.Source("corp").Looked(evidence.NotAsked, time.Second)
	m.Downstream("smtp://imap.example.com:25").Relayed(20 * time.Millisecond)
	m.Bounce("in", "refuse")
	p := page(t, m)
	has(t, p,
		`backstop_sessions{door="smtp"} 1`,
		`backstop_lookup_seconds_sum{source="corp",standing="exists"} 2`,
		`backstop_relay_seconds_count{downstream="smtp://imap.example.com:25"} 1`,
		`backstop_bounces_total{direction="in",verdict="refuse"} 1`)
	if strings.Contains(p, `standing="not asked"`) {
		t.Error("a standing that no source can give is listed")
	}
}

func TestStateIsAskedForWhenRead(t *testing.T) {
	m := New(nil, nil)
	if p := page(t, m); strings.Contains(p, "backstop_downstream_up") {
		t.Error("a state before anybody told it")
	}
	m.Watch(func() State {
		return State{CacheExists: 5, CacheMissing: 7, DownstreamUp: map[string]bool{"smtp://a:25": true, "smtp://b:25": false},
			SourceBlind: map[string]bool{"callahead:smtp://a:25": true}, LogDropped: 3,
			SourceUp: map[string]bool{"corp": true, "old": false}, SourceEntries: map[string]int{"corp": 12}, SourceAge: map[string]float64{"corp": 1.5},
			SourceHeld: map[string]bool{"corp": true}, BlocklistUp: map[string]bool{"bl.example.org": true},
			BlocklistListed: map[OnList]bool{{"bl.example.org", "192.0.2.25"}: true, {"bl.example.org", "192.0.2.26"}: false}}
	})
	has(t, page(t, m),
		`backstop_cache_entries{standing="exists"} 5`, `backstop_cache_entries{standing="missing"} 7`,
		`backstop_downstream_up{downstream="smtp://a:25"} 1`, `backstop_downstream_up{downstream="smtp://b:25"} 0`,
		`backstop_source_up{source="corp"} 1`, `backstop_source_up{source="old"} 0`, `backstop_source_entries{source="corp"} 12`,
		`backstop_source_age_seconds{source="corp"} 1.5`, `backstop_source_held{source="corp"} 1`,
		`backstop_source_blind{source="callahead:smtp://a:25"} 1`, `backstop_log_lines_dropped_total 3`,
		`backstop_blocklist_up{list="bl.example.org"} 1`, `backstop_blocklist_listed{address="192.0.2.25",list="bl.example.org"} 1`,
		`backstop_blocklist_listed{address="192.0.2.26",list="bl.example.org"} 0`)
	m.Watch(func() State { return State{} })
	if p := page(t, m); strings.Contains(p, "backstop_downstream_up{") {
		t.Error("a downstream that is no longer configured is still listed")
	}
}

func BenchmarkDecision(b *testing.B) {
	m := New([]string{"refuse"}, []string{"recipient-missing"})
	b.ReportAllocs()
	for b.Loop() {
		m.Decision(evidence.DoorSMTP, evidence.StageRcpt, 0, 0)
	}
}
