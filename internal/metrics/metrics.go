// Package metrics counts what the daemon does and shows it to Prometheus.
//
// What happens once a decision or once a command is a counter resolved
// beforehand: an index into an array and one atomic addition, no map, no text,
// nothing allocated. What is a state (is the downstream up, how full is the cache)
// is asked for when somebody reads /metrics, through the function given to Watch.
//
// # Limits
//
// Labels come from the configuration and from fixed lists only, never from a
// client, so the number of series is bounded. There is no push and no history.
package metrics

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"backstop/internal/evidence"
)

// Metrics holds every figure of one daemon in a registry of its own. Make it
// with New. All methods may be called by any number of goroutines.
type Metrics struct {
	registry *prometheus.Registry

	verdicts, rules []string
	decisions       *prometheus.CounterVec
	resolved        []atomic.Pointer[prometheus.Counter] // door, stage, verdict, rule; nil until first counted
	sessions        [evidence.NumDoors]prometheus.Gauge

	lookups *prometheus.HistogramVec
	relays  *prometheus.HistogramVec
	bounces *prometheus.CounterVec

	mu      sync.Mutex
	sources map[string]*Source

	state atomic.Pointer[func() State]
}

// seconds are the buckets of both histograms: from a look-up in memory to the
// patience of RFC 5321, 4.5.3.2.
var seconds = []float64{.000001, .00001, .0001, .001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60, 300}

// New makes the metrics. verdicts and rules are the label values by index, as
// Decision is given them.
func New(verdicts, rules []string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		verdicts: verdicts,
		rules:    rules,
		sources:  map[string]*Source{},
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backstop_decisions_total", Help: "Decisions, by the rule that made them.",
		}, []string{"door", "stage", "verdict", "rule"}),
		lookups: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "backstop_lookup_seconds", Help: "Time to learn from a recipient source whether an address exists.", Buckets: seconds,
		}, []string{"source", "standing"}),
		relays: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "backstop_relay_seconds", Help: "Time from the end of a message to the downstream's final answer.", Buckets: seconds,
		}, []string{"downstream"}),
		bounces: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backstop_bounces_total", Help: "Bounces judged, by direction (in, out).",
		}, []string{"direction", "verdict"}),
	}
	m.resolved = make([]atomic.Pointer[prometheus.Counter],
		evidence.NumDoors*evidence.NumStages*(len(verdicts)+1)*(len(rules)+1))
	open := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "backstop_sessions", Help: "Sessions open now.",
	}, []string{"door"})
	for d := 1; d < evidence.NumDoors; d++ {
		m.sessions[d] = open.WithLabelValues(evidence.Door(d).String())
	}
	m.registry.MustRegister(m.decisions, m.lookups, m.relays, m.bounces, open, &stateCollector{m},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Decision counts one decision; verdict and rule are indexes into the lists
// given to New. An index outside its list is counted as "unknown".
func (m *Metrics) Decision(door evidence.Door, stage evidence.Stage, verdict, rule int) {
	if verdict < 0 || verdict >= len(m.verdicts) {
		verdict = len(m.verdicts)
	}
	if rule < 0 || rule >= len(m.rules) {
		rule = len(m.rules)
	}
	i := ((int(door)*evidence.NumStages+int(stage))*(len(m.verdicts)+1)+verdict)*(len(m.rules)+1) + rule
	if i >= len(m.resolved) {
		return // a door or stage that does not exist
	}
	c := m.resolved[i].Load()
	if c == nil {
		c = m.resolve(door, stage, verdict, rule)
		m.resolved[i].Store(c)
	}
	(*c).Inc()
}

// resolve finds the counter by its labels: once for each that is ever used, so
// that /metrics does not list thousands of zeros.
func (m *Metrics) resolve(door evidence.Door, stage evidence.Stage, verdict, rule int) *prometheus.Counter {
	c := m.decisions.WithLabelValues(door.String(), stage.String(), label(m.verdicts, verdict), label(m.rules, rule))
	return &c
}

func label(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "unknown"
}

// SessionOpened counts a session as open; SessionClosed takes it away again.
func (m *Metrics) SessionOpened(door evidence.Door) {
	if g := m.sessions[door]; g != nil {
		g.Inc()
	}
}

// SessionClosed ends what SessionOpened began.
func (m *Metrics) SessionClosed(door evidence.Door) {
	if g := m.sessions[door]; g != nil {
		g.Dec()
	}
}

// Source is the histogram of one recipient source, resolved beforehand.
type Source struct {
	standings [evidence.NumStandings]prometheus.Observer
}

// Source gives the histogram of the source of that name; the same one for the same name.
func (m *Metrics) Source(name string) *Source {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sources[name]
	if s == nil {
		s = &Source{}
		for i := range s.standings {
			switch st := evidence.Standing(i); st {
			case evidence.Exists, evidence.Missing, evidence.Unavailable:
				s.standings[i] = m.lookups.WithLabelValues(name, st.String())
			}
		}
		m.sources[name] = s
	}
	return s
}

// Looked counts one look-up and how long it took. Standings that no source can
// give are not counted.
func (s *Source) Looked(standing evidence.Standing, took time.Duration) {
	if o := s.standings[standing]; o != nil {
		o.Observe(took.Seconds())
	}
}

// Downstream is the histogram of one downstream, resolved beforehand.
type Downstream struct{ o prometheus.Observer }

// Downstream gives the histogram of the downstream of that name.
func (m *Metrics) Downstream(name string) Downstream {
	return Downstream{m.relays.WithLabelValues(name)}
}

// Relayed counts one message and the time from its end to the final answer.
func (d Downstream) Relayed(took time.Duration) { d.o.Observe(took.Seconds()) }

// Bounce counts one bounce judged; direction is "in" or "out".
func (m *Metrics) Bounce(direction, verdict string) {
	m.bounces.WithLabelValues(direction, verdict).Inc()
}

// Handler serves the figures in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Registry is where a package with figures of its own registers them.
func (m *Metrics) Registry() prometheus.Registerer { return m.registry }
