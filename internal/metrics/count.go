package metrics

import (
	"sort"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Count is how often one rule decided one way.
type Count struct {
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`
	Count   uint64 `json:"count"`
}

// Decisions sums the decisions over doors and stages, the most frequent first.
func (m *Metrics) Decisions() []Count {
	sums := map[[2]string]uint64{}
	m.eachDecision(func(labels map[string]string, n uint64) {
		sums[[2]string{labels["verdict"], labels["rule"]}] += n
	})
	counts := make([]Count, 0, len(sums))
	for k, n := range sums {
		counts = append(counts, Count{k[0], k[1], n})
	}
	sort.Slice(counts, func(i, j int) bool {
		a, b := counts[i], counts[j]
		return a.Count > b.Count || a.Count == b.Count && a.Verdict+a.Rule < b.Verdict+b.Rule
	})
	return counts
}

// Doors sums the decisions by door; a door that made none is not among them.
func (m *Metrics) Doors() map[string]uint64 {
	sums := map[string]uint64{}
	m.eachDecision(func(labels map[string]string, n uint64) { sums[labels["door"]] += n })
	return sums
}

// eachDecision calls f with the labels of each counter and how far it has counted.
func (m *Metrics) eachDecision(f func(labels map[string]string, n uint64)) {
	ch := make(chan prometheus.Metric, 64)
	go func() { m.decisions.Collect(ch); close(ch) }()
	for metric := range ch {
		var d dto.Metric
		if metric.Write(&d) != nil {
			continue
		}
		labels := map[string]string{}
		for _, l := range d.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		f(labels, uint64(d.GetCounter().GetValue()))
	}
}
