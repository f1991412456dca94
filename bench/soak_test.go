package main

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// moments are some, every 10 seconds with this much memory.
func moments(n int, rss func(minute float64) float64) []moment {
	var all []moment
	for i := range n {
		at := time.Duration(i+1) * 10 * time.Second
		all = append(all, moment{at: at + time.Millisecond, vitals: vitals{rss: rss(at.Minutes()), heap: 5, goroutines: 100}, answers: int64(i)})
	}
	return all
}

func TestSoakTellsGrowthFromNone(t *testing.T) {
	for name, test := range map[string]struct {
		rss  func(float64) float64
		n    int
		want string
	}{
		"flat":                {func(float64) float64 { return 40 }, 60, "yes"},
		"rising at first":     {func(m float64) float64 { return 40 - 20*math.Exp(-5*m) }, 60, "yes"},
		"a sawtooth":          {func(m float64) float64 { return 40 + math.Mod(6*m, 3) }, 60, "yes"},
		"growing all along":   {func(m float64) float64 { return 40 + m/2 }, 60, "no"},
		"too short":           {func(float64) float64 { return 40 }, 10, ""},
		"shrinking all along": {func(m float64) float64 { return 40 - m }, 60, "yes"},
	} {
		r := result{Figures: []*figure{{}}}
		soakLine(&r, moments(test.n, test.rss), true)
		if r.Reached != test.want {
			t.Errorf("%s: reached %q, want %q\n%s", name, r.Reached, test.want, strings.Join(r.Notes, "\n"))
		}
		lines := (test.n + 5) / 6
		if len(r.Notes) != lines+1 || !strings.HasPrefix(r.Notes[lines-1], "minute "+string(rune('0'+lines%10))) && lines < 10 {
			t.Errorf("%s: %d lines of %d minutes\n%s", name, len(r.Notes), lines, strings.Join(r.Notes, "\n"))
		}
	}
}

func TestSlope(t *testing.T) {
	slope, mean := slopeOf(moments(30, func(m float64) float64 { return 7 + 3*m }), func(m moment) float64 { return m.rss })
	if math.Abs(slope-3) > 0.001 || math.Abs(mean-(7+3*155.0/60)) > 0.001 {
		t.Errorf("slope %v, mean %v", slope, mean)
	}
	if slope, _ := slopeOf(moments(1, func(float64) float64 { return 7 }), func(m moment) float64 { return m.rss }); slope != 0 {
		t.Errorf("slope of one: %v", slope)
	}
}

func TestScrape(t *testing.T) {
	page := "# HELP decisions x\ndecisions{door=\"policy\",verdict=\"refuse\"} 3\ndecisions{door=\"milter\",verdict=\"refuse\"} 4\n" +
		"decisions_total 9\ndecisions{door=\"policy\",verdict=\"accept\"} 1\nheap 1.5e+06\n"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			_, _ = w.Write([]byte(page))
		}
	}))
	defer s.Close()
	got, err := scrape(strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		labels []string
		want   float64
	}{{nil, 8}, {[]string{`door="policy"`}, 4}, {[]string{`verdict="refuse"`, `door="policy"`}, 3}, {[]string{`door="http"`}, 0}} {
		if sum := got.sum("decisions", test.labels...); sum != test.want {
			t.Errorf("%v: %v, want %v", test.labels, sum, test.want)
		}
	}
	if got["heap"] != 1.5e6 {
		t.Errorf("heap %v", got["heap"])
	}
}

// TestDecided: a door that was passed by, or did what it was not to do, is told of.
func TestDecided(t *testing.T) {
	const name = "backstop_decisions_total"
	refused, accepted := name+`{door="policy",verdict="refuse"}`, name+`{door="policy",verdict="accept"}`
	other := name + `{door="smtp",verdict="refuse"}`
	with, without := &plugged{door: "policy"}, &plugged{}
	for _, test := range []struct {
		w                  *plugged
		page               scraped
		sessions, refusals int
		fine               bool
	}{
		{with, scraped{refused: 10}, 2, 10, true},
		{with, scraped{refused: 9}, 2, 10, false},
		{with, scraped{refused: 10, other: 1}, 2, 10, false},
		{with, scraped{accepted: 3}, 2, 0, true},
		{with, scraped{accepted: 1}, 2, 0, false},
		{without, scraped{}, 2, 10, true},
		{without, scraped{accepted: 1}, 2, 0, false},
	} {
		if err := test.w.decided(scraped{}, test.page, test.sessions, test.refusals); (err == nil) != test.fine {
			t.Errorf("%+v: %v", test, err)
		}
	}
}
