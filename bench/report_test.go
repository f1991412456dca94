package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// exampleReport has one line that was measured and one that could not be.
func exampleReport() *report {
	own := &figure{Name: "Backstop", Unit: "us", Rounds: []float64{70, 74, 72}, samples: []time.Duration{2e6, 1e6}, took: time.Second}
	own.finish()
	missing := &figure{Name: "Exim", Unit: "us", Missing: "not unpacked"}
	missing.finish()
	r := result{Row: "refuse", About: "five refusals", Peer: "740 us", Ours: "72.0 us", Ratio: "0.097", Target: "a tenth",
		Figures: []*figure{own, missing}}
	r.judge(0.097, 0.1)
	r.note("%d things", 3)
	return &report{Go: "go", CPUs: 2, Results: []result{r, {About: "nothing", Target: "1 ms"}}}
}

func TestReportAsText(t *testing.T) {
	var out bytes.Buffer
	if err := exampleReport().write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"five refusals  740 us  72.0 us  0.097          a tenth  yes",
		"nothing        -       -        -              1 ms     -",
		"72.0 us (70.0 to 74.0)",
		"2 a second", "p50 1.00 ms, p99 2.00 ms",
		"not measured: not unpacked",
		"3 things",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}

func TestReportAsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := exampleReport().writeJSON(&out); err != nil {
		t.Fatal(err) // a NaN would end here
	}
	var back report
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Results) != 2 || back.Results[0].Figures[0].Spread.Median != 72 || back.Results[0].Reached != "yes" {
		t.Errorf("came back as %+v", back.Results)
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, bad := range [][]string{{"-only", "nonsense"}, {"-rounds", "-1"}, {"-listed", "10000001"}, {"extra"}} {
		if _, err := parseFlags(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	full, err := parseFlags(nil)
	if err != nil {
		t.Fatal(err)
	}
	quick, err := parseFlags([]string{"-quick"})
	if err != nil {
		t.Fatal(err)
	}
	if quick.rounds >= full.rounds || quick.round >= full.round {
		t.Errorf("quick has %d rounds of %v, the whole has %d of %v", quick.rounds, quick.round, full.rounds, full.round)
	}
}

func TestWriteRecipients(t *testing.T) {
	var out bytes.Buffer
	if err := writeRecipients(&out, 3); err != nil {
		t.Fatal(err)
	}
	if want := "user0000000@bench.example\nuser0000001@bench.example\nuser0000002@bench.example\n"; out.String() != want {
		t.Errorf("wrote %q", out.String())
	}
}
