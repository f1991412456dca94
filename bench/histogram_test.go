package main

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestHistogramSteps(t *testing.T) {
	for step := range histogramSize {
		longest := longestOf(step)
		if got := stepOf(longest); got != step {
			t.Fatalf("%d belongs to step %d, and is the longest of %d", longest, got, step)
		}
		if step < histogramSize-1 && stepOf(longest+1) != step+1 {
			t.Fatalf("%d does not belong to the step after %d", longest+1, step)
		}
	}
}

func TestHistogramIsNearlyExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Minute)), 1, 200).Draw(t, "values")
		var left, all histogram
		sorted := make([]time.Duration, len(values))
		for i, v := range values {
			sorted[i] = time.Duration(v)
			if i%2 == 0 {
				left.add(sorted[i])
			} else {
				all.add(sorted[i])
			}
		}
		all.merge(&left)
		slices.Sort(sorted)
		p := rapid.Float64Range(0, 1).Draw(t, "p")
		want, got := percentile(sorted, p), all.percentile(p)
		if got < want || got > want+want/histogramSteps {
			t.Fatalf("percentile(%v) = %v, want %v or at most 3 %% more", p, got, want)
		}
		above := 0
		for _, d := range sorted {
			if d > pauseLimit {
				above++
			}
		}
		if all.above != above {
			t.Fatalf("%d above %v, want %d", all.above, pauseLimit, above)
		}
		if l := all.latency(); l.Max != sorted[len(sorted)-1] || l.N != len(values) {
			t.Fatalf("got %+v of %v", l, sorted)
		}
	})
}

func TestHistogramOfNothing(t *testing.T) {
	var h histogram
	if got := h.latency(); got != (latency{}) {
		t.Errorf("got %+v", got)
	}
	h.add(-time.Second)
	if got := h.latency(); got != (latency{N: 1}) {
		t.Errorf("a time before the beginning gave %+v", got)
	}
}
