package main

import (
	"math"
	"slices"
	"time"
)

// spread is what several rounds of one measurement came to.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf summarises the rounds; of no rounds everything is NaN.
func spreadOf(rounds []float64) spread {
	if len(rounds) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	return spread{Median: median(rounds), Min: slices.Min(rounds), Max: slices.Max(rounds)}
}

// median returns the middle value, or the mean of the two in the middle. It leaves its argument as it was.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// pairRatios divides the rounds of ours by those of the peer, the n-th by the n-th: two neighbours in time suffered the
// same disturbances, two medians need not have. Rounds without a partner, or with a partner of nothing, are left out.
func pairRatios(ours, peer []float64) []float64 {
	ratios := make([]float64, 0, len(ours))
	for i := range min(len(ours), len(peer)) {
		if peer[i] > 0 {
			ratios = append(ratios, ours[i]/peer[i])
		}
	}
	return ratios
}

// percentile returns the smallest value that at least the fraction p (0 to 1) of all values do not exceed: the nearest-rank
// definition, which never invents a value between two. The values must be sorted; of none it is 0.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// latency is the distribution of the times that the client saw.
type latency struct {
	P50  time.Duration `json:"p50_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns,omitempty"` // where there are enough samples for it to mean something
	Max  time.Duration `json:"max_ns"`
	N    int           `json:"n"`
}

// latencyOf sorts the samples in place and summarises them.
func latencyOf(samples []time.Duration) latency {
	slices.Sort(samples)
	return latency{
		P50: percentile(samples, 0.50),
		P99: percentile(samples, 0.99),
		Max: percentile(samples, 1),
		N:   len(samples),
	}
}
