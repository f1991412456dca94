package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestSwapList(t *testing.T) {
	const n, times = 500, 3
	dir := t.TempDir()
	if err := swapTexts(dir, n); err != nil {
		t.Fatal(err)
	}
	found, err := swapList(dir, n, times)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Errors) > 0 || len(found.SwapMS) != times {
		t.Errorf("%d swaps of %d; errors: %q", len(found.SwapMS), times, found.Errors)
	}
	for name, p := range map[string]phase{"swapping": found.Swapping, "quiet": found.Quiet} {
		if p.Wrong != 0 || p.Kept.N < swapClients || p.Lookup.N != 2*p.Kept.N {
			t.Errorf("%s: %d wrong answers of %d look-ups in %d turns of %d clients", name, p.Wrong, p.Lookup.N, p.Kept.N, swapClients)
		}
	}
}

// A list that is exchanged for one without the recipients must be noticed.
func TestSwapCountsWrongAnswers(t *testing.T) {
	dir := t.TempDir()
	if err := swapTexts(dir, 1); err != nil {
		t.Fatal(err)
	}
	found, err := swapList(dir, 1000, 1) // asks for more than are there
	if err != nil {
		t.Fatal(err)
	}
	if found.Swapping.Wrong == 0 || found.Quiet.Wrong == 0 {
		t.Errorf("%d and %d wrong answers", found.Swapping.Wrong, found.Quiet.Wrong)
	}
}

func swappedExample() *swapped {
	return &swapped{
		Swapping: phase{Seconds: 2, Lookup: latency{P50: 300, P99: 900, P999: 5000, Max: 9 * time.Millisecond, N: 1000},
			Kept: latency{P50: 300, P99: 900, P999: 5000, Max: 11 * time.Millisecond, N: 500}, LongKept: 1},
		Quiet: phase{Seconds: 2, Lookup: latency{P50: 300, P99: 900, P999: 5000, Max: 3 * time.Millisecond, N: 1000},
			Kept: latency{P50: 300, P99: 900, P999: 5000, Max: 4 * time.Millisecond, N: 500}},
		SwapMS: []float64{20, 30, 40},
	}
}

func TestSwapLines(t *testing.T) {
	lines := swapLines(result{Row: "swap"}, 1_000_000, swappedExample(), nil)
	if len(lines) != 2 || lines[0].Reached != "yes" || lines[1].Reached != "no" {
		t.Fatalf("got %+v", lines)
	}
	if lines[0].Peer != "quiet 3.00 ms" || lines[0].Ours != "9.00 ms" || lines[0].Ratio != "3.00" {
		t.Errorf("got %+v", lines[0])
	}
	if got := lines[0].Figures[1].describe(); got != "500 a second\tp50 300 ns, p99 900 ns, p99.9 5.00 us, longest 9.00 ms of 1000" {
		t.Errorf("got %q", got)
	}
	if got := strings.Join(lines[1].Notes, "\n"); !strings.Contains(got, "while swapped: 1 of 500 above 10ms") {
		t.Errorf("got %s", got)
	}
}

func TestSwapWithAWrongAnswerIsNotReached(t *testing.T) {
	found := swappedExample()
	found.Swapping.Wrong = 1
	if got := swapLines(result{}, 1000, found, nil)[0]; got.Reached != "no" {
		t.Errorf("with a wrong answer it is %q", got.Reached)
	}
	found = swappedExample()
	found.Errors = []string{"swap 1 was not noticed"}
	if got := swapLines(result{}, 1000, found, nil)[0]; got.Reached != "no" {
		t.Errorf("with an error it is %q", got.Reached)
	}
	for _, line := range swapLines(result{}, 1000, nil, errors.New("no room")) {
		if line.Reached != "" || line.Figures[0].Missing != "no room" {
			t.Errorf("got %+v", line)
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0 ns", 999: "999 ns", 1500: "1.50 us", 2 * time.Millisecond: "2.00 ms", 3 * time.Second: "3000 ms"} {
		if got := short(d); got != want {
			t.Errorf("short(%d) = %s, want %s", d, got, want)
		}
	}
}
