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
	ch := make(chan prometheus.Metric, 64)
	go func() { m.decisions.Collect(ch); close(ch) }()
	sums := map[[2]string]uint64{}
	for metric := range ch {
		var d dto.Metric
		if metric.Write(&d) != nil {
			continue
		}
		var key [2]string
		for _, l := range d.GetLabel() {
			switch l.GetName() {
			case "verdict":
				key[0] = l.GetValue()
			case "rule":
				key[1] = l.GetValue()
			}
		}
		sums[key] += uint64(d.GetCounter().GetValue())
	}
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
