package main

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations without a memory allocation, so that who times something does not disturb it: each power of
// two has 32 steps, so that a percentile is at most 3 % too large. The longest is exact.
type histogram struct {
	counts [histogramSize]int
	n      int
	above  int // the limit of a pause
	max    time.Duration
}

const (
	histogramSteps = 32
	histogramSize  = histogramSteps * (63 - 5 + 1) // a Duration has 63 bits, and the first 5 are exact
)

// add counts one; less than nothing, as a clock may give, is nothing.
func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[stepOf(d)]++
	h.n++
	if d > pauseLimit {
		h.above++
	}
	h.max = max(h.max, d)
}

// stepOf returns the step that a duration belongs to.
func stepOf(d time.Duration) int {
	if d < histogramSteps {
		return int(d)
	}
	shift := bits.Len64(uint64(d)) - 6
	return histogramSteps*shift + int(d>>shift)
}

// longestOf returns the longest duration that belongs to a step.
func longestOf(step int) time.Duration {
	if step < 2*histogramSteps {
		return time.Duration(step)
	}
	shift := step/histogramSteps - 1
	return time.Duration((uint64(step%histogramSteps+histogramSteps)+1)<<shift - 1)
}

// merge adds what another has counted.
func (h *histogram) merge(other *histogram) {
	for step, n := range other.counts {
		h.counts[step] += n
	}
	h.n += other.n
	h.above += other.above
	h.max = max(h.max, other.max)
}

// percentile is as that of sorted values, to 3 %.
func (h *histogram) percentile(p float64) time.Duration {
	rank := max(int(math.Ceil(p*float64(h.n))), 1)
	seen := 0
	for step, n := range h.counts {
		if seen += n; seen >= rank {
			return min(longestOf(step), h.max)
		}
	}
	return h.max
}

// latency summarises what was counted.
func (h *histogram) latency() latency {
	return latency{P50: h.percentile(0.50), P99: h.percentile(0.99), P999: h.percentile(0.999), Max: h.max, N: h.n}
}
