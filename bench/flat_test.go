package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func flatFigures(rounds ...[]float64) []*figure {
	var figures []*figure
	for _, r := range rounds {
		f := &figure{Unit: "us", Rounds: r}
		f.finish()
		figures = append(figures, f)
	}
	return figures
}

func TestFlatComparesTheDearestWithTheCheapest(t *testing.T) {
	got := flatLine(result{}, []int{1000, 100_000, 10_000_000}, flatFigures(
		[]float64{102, 102, 102}, []float64{100, 99, 101}, []float64{110, 108.9, 121.2}))
	if got.Ours != "102, 100, 110 us" || got.Ratio != "1.100 (1.100-1.200)" || got.Reached != "yes" {
		t.Errorf("got %+v", got)
	}
	if got.About != "CPU of a session with 5 refused recipients; known are 1,000, 100,000, 10 M" {
		t.Errorf("got %q", got.About)
	}
	if got = flatLine(result{}, []int{1000, 2000}, flatFigures([]float64{100}, []float64{111})); got.Reached != "no" {
		t.Errorf("a ratio of 1.11 is %q", got.Reached)
	}
}

// The size that could not be measured may be the dear one.
func TestFlatWithoutOneSizeIsNotJudged(t *testing.T) {
	got := flatLine(result{}, []int{1000, 2000, 3000}, flatFigures([]float64{100}, nil, []float64{101}))
	if got.Reached != "" || got.Ratio != "" || got.Ours != "100, -, 101 us" {
		t.Errorf("got %+v", got)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{7: "7", 1000: "1,000", 1500: "1500", 100_000: "100,000", 1_000_000: "1 M", 10_000_000: "10 M"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestAwaitFile(t *testing.T) {
	dir := t.TempDir()
	ended := make(chan struct{})
	g := &gateway{process: &process{name: "backstop-7", ended: ended}}
	pattern := filepath.Join(dir, "*.recipients")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := awaitFile(ctx, g, pattern); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(ended)
	if err := awaitFile(t.Context(), g, pattern); err == nil || !strings.Contains(err.Error(), "backstop-7 ended") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.recipients"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := awaitFile(t.Context(), g, pattern); err != nil {
		t.Error(err)
	}
}
