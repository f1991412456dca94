package metrics

import "github.com/prometheus/client_golang/prometheus"

// State is what is true at this moment, as opposed to what was counted.
type State struct {
	CacheExists  int             // cached answers that say exists
	CacheMissing int             // and missing
	DownstreamUp map[string]bool // by the downstream's name
	SourceBlind  map[string]bool // by the source's name: it says yes to anybody
	// By the source's name:
	SourceUp      map[string]bool    // it could be asked, or read, the last time
	SourceEntries map[string]int     // recipients that a list or a copy has
	SourceAge     map[string]float64 // seconds since a copy was last known to be right
	SourceHeld    map[string]bool    // a pull is held back because it would lose too many
	LogDropped    uint64             // log lines lost since the start
	DNSAsked      bool               // the DNS was asked anything yet
	DNSUp         bool               // and one of its servers answers
	// DNS blocklists, where addresses of ours are watched:
	BlocklistListed map[OnList]bool // it is listed, as was found out last
	BlocklistUp     map[string]bool // by the list's zone: it could be asked the last time
}

// OnList is an address of ours and a blocklist that may have it.
type OnList struct{ List, Address string }

// Watch sets the function that tells the state. It is called at each reading of
// /metrics, must not wait for anything outside the process, and stands until the next Watch.
func (m *Metrics) Watch(f func() State) { m.state.Store(&f) }

// stateCollector turns a State into figures. Series of downstreams that a reload
// removed vanish by themselves, because nothing is kept between two readings.
type stateCollector struct{ m *Metrics }

var (
	cacheEntries = prometheus.NewDesc("backstop_cache_entries", "Cached answers about recipients.", []string{"standing"}, nil)
	downstreamUp = prometheus.NewDesc("backstop_downstream_up", "1 when the downstream answered last time.", []string{"downstream"}, nil)
	sourceBlind  = prometheus.NewDesc("backstop_source_blind", "1 when the source accepts anybody and so proves nothing.", []string{"source"}, nil)
	sourceUp     = prometheus.NewDesc("backstop_source_up", "1 when the source could be asked, or read, last time.", []string{"source"}, nil)
	sourceSize   = prometheus.NewDesc("backstop_source_entries", "Recipients of a listed or copied source.", []string{"source"}, nil)
	sourceAge    = prometheus.NewDesc("backstop_source_age_seconds", "Seconds since a copied source was last known to be right.", []string{"source"}, nil)
	sourceHeld   = prometheus.NewDesc("backstop_source_held", "1 when a pull is held back because it would lose too many recipients.", []string{"source"}, nil)
	dnsUp        = prometheus.NewDesc("backstop_dns_up", "1 when a DNS server answers.", nil, nil)
	listed       = prometheus.NewDesc("backstop_blocklist_listed", "1 when the blocklist lists the address of ours.", []string{"list", "address"}, nil)
	listUp       = prometheus.NewDesc("backstop_blocklist_up", "1 when the blocklist could be asked the last time.", []string{"list"}, nil)
	logDropped   = prometheus.NewDesc("backstop_log_lines_dropped_total", "Log lines lost because they could not be written in time.", nil, nil)
)

// Describe is part of prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{cacheEntries, downstreamUp, sourceBlind, sourceUp, sourceSize, sourceAge, sourceHeld, dnsUp, listed, listUp, logDropped} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	f := c.m.state.Load()
	if f == nil {
		return
	}
	s := (*f)()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(cacheEntries, float64(s.CacheExists), "exists")
	gauge(cacheEntries, float64(s.CacheMissing), "missing")
	for _, g := range []struct {
		desc *prometheus.Desc
		of   map[string]bool
	}{{downstreamUp, s.DownstreamUp}, {sourceBlind, s.SourceBlind}, {sourceUp, s.SourceUp}, {sourceHeld, s.SourceHeld}, {listUp, s.BlocklistUp}} {
		for name, is := range g.of {
			gauge(g.desc, truth(is), name)
		}
	}
	for name, n := range s.SourceEntries {
		gauge(sourceSize, float64(n), name)
	}
	for name, age := range s.SourceAge {
		gauge(sourceAge, age, name)
	}
	for on, is := range s.BlocklistListed {
		gauge(listed, truth(is), on.List, on.Address)
	}
	if s.DNSAsked {
		gauge(dnsUp, truth(s.DNSUp))
	}
	ch <- prometheus.MustNewConstMetric(logDropped, prometheus.CounterValue, float64(s.LogDropped))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
