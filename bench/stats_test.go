package main

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1}, 5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		before := slices.Clone(c.in)
		if got := median(c.in); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.in, got, c.want)
		}
		if !slices.Equal(before, c.in) {
			t.Errorf("median reordered its argument: %v became %v", before, c.in)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

func TestSpreadOfNothingIsNotZero(t *testing.T) {
	// A zero would read as "costs nothing" in the table.
	if s := spreadOf(nil); !math.IsNaN(s.Median) || !math.IsNaN(s.Min) || !math.IsNaN(s.Max) {
		t.Errorf("spreadOf(nil) = %+v", s)
	}
}

func TestPairRatios(t *testing.T) {
	got := pairRatios([]float64{10, 30, 5, 7}, []float64{100, 100, 0})
	if want := []float64{0.1, 0.3}; !slices.Equal(got, want) {
		t.Errorf("pairRatios = %v, want %v", got, want)
	}
}

func TestPercentileNearestRank(t *testing.T) {
	values := make([]time.Duration, 100)
	for i := range values {
		values[i] = time.Duration(i + 1)
	}
	for p, want := range map[float64]time.Duration{0: 1, 0.01: 1, 0.5: 50, 0.501: 51, 0.99: 99, 1: 100} {
		if got := percentile(values, p); got != want {
			t.Errorf("percentile(1..100, %v) = %d, want %d", p, got, want)
		}
	}
	if got := percentile(nil, 0.5); got != 0 {
		t.Errorf("percentile of nothing = %v", got)
	}
}

func TestPercentileHoldsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Int64Range(0, 1000), 1, 300).Draw(t, "values")
		p := rapid.Float64Range(0, 1).Draw(t, "p")
		values := make([]time.Duration, len(raw))
		for i, v := range raw {
			values[i] = time.Duration(v)
		}
		slices.Sort(values)
		got := percentile(values, p)
		within, below := 0, 0
		for _, v := range values {
			if v <= got {
				within++
			}
			if v < got {
				below++
			}
		}
		n := float64(len(values))
		if float64(within) < p*n-1e-9 {
			t.Fatalf("only %d of %v values are within %v, wanted the fraction %v", within, n, got, p)
		}
		if below > 0 && float64(below) >= p*n+1e-9 {
			t.Fatalf("%d of %v values are below %v already, wanted the smallest that covers %v", below, n, got, p)
		}
	})
}

func TestLatencyOf(t *testing.T) {
	got := latencyOf([]time.Duration{30, 10, 20})
	if want := (latency{P50: 20, P99: 30, Max: 30, N: 3}); got != want {
		t.Errorf("latencyOf = %+v, want %+v", got, want)
	}
}
