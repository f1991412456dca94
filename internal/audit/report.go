package audit

import (
	"cmp"
	"slices"
	"time"

	"backstop/internal/maillog"
)

// Count is a name with a number.
type Count struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Host is a server that refused what this one had accepted.
type Host struct {
	Name  string `json:"name"`
	Inner bool   `json:"inner"` // it refused mail for a domain of this server
	Cause string `json:"cause"` // the most frequent
	Count int    `json:"count"`
}

// Lines are how many lines were read, by what they were.
type Lines struct {
	Total         int `json:"total"`
	Used          int `json:"used"`           // they tell of a message
	Nothing       int `json:"nothing"`        // of a mail server, and tell of none
	OtherPrograms int `json:"other_programs"` // of other programs
	NotUnderstood int `json:"not_understood"`
}

// Server is a kind of mail server in the logs.
type Server struct {
	Name        string `json:"name"`
	Lines       int    `json:"lines"`
	Written     int    `json:"bounces_written"`
	Backscatter int    `json:"to_strangers"`
}

// Report is what was counted. Times are those of the wall clock, without a zone.
type Report struct {
	From    string   `json:"from"` // of the first line that was used
	To      string   `json:"to"`
	Since   string   `json:"since,omitempty"`
	Lines   Lines    `json:"lines"`
	Servers []Server `json:"servers"`

	Own      []string `json:"own_domains"`
	OwnGiven bool     `json:"own_domains_given"`
	OwnKnown bool     `json:"own_domains_known"` // without them nobody can tell what would have been refused at RCPT
	Ends     bool     `json:"ends_before_since"`

	Written     int    `json:"bounces_written"`
	Left        int    `json:"bounces_delivered"`   // handed on to another server, or into a mailbox
	Backscatter int    `json:"to_strangers"`        // of these, to addresses outside the own domains
	OwnUsers    int    `json:"to_own_users"`        // the others
	Refused     int    `json:"refused_by_receiver"` // bounces that nobody took
	Waiting     int    `json:"not_delivered"`       // neither: in the queue, or their end is not in the log
	Strangers   int    `json:"strangers"`           // addresses that differ
	About       bool   `json:"strangers_estimated"`
	Domains     int    `json:"stranger_domains"`
	Began       string `json:"began,omitempty"`      // when the first bounce to a stranger left
	FromStart   bool   `json:"began_before_the_log"` // it did so within an hour of the log's beginning

	Days      []Count `json:"per_day"`
	Causes    []Count `json:"causes"`
	Receivers []Count `json:"receivers"`
	For       []Count `json:"failed_domains"` // whose recipients failed
	Hosts     []Host  `json:"refused_by"`

	AtRcpt    int     `json:"refused_at_rcpt_with_backstop"`
	AtData    int     `json:"refused_at_data_with_backstop"`
	Remaining int     `json:"bounced_all_the_same"`
	Share     float64 `json:"share_at_rcpt"` // of Backscatter, 0 to 1

	Delays     int     `json:"delay_warnings"`
	Receipts   int     `json:"delivery_receipts"`
	Postmaster int     `json:"postmaster_notices"`
	Relayed    int     `json:"null_sender_relayed"`  // came in from elsewhere and was handed on
	Programs   int     `json:"null_sender_programs"` // written by programs of this machine
	Headless   int     `json:"null_sender_unexplained"`
	Answers    int     `json:"null_sender_programs_to_strangers"` // of Programs
	Inner      int     `json:"null_sender_for_inner"`             // came from private addresses and went to strangers; not in Relayed
	Insiders   []Count `json:"null_sender_inner"`                 // these addresses
	Again      int     `json:"counted_at_first_hop"`              // own bounces seen once more, in the next server's log

	Forgotten int      `json:"forgotten"` // messages that were open when there was no room for more
	Merged    int      `json:"merged"`    // bounces that were counted under "others"
	Unjoined  int      `json:"unjoined"`  // bounces that were handed to another server, and are no more looked for in its log
	Next      []string `json:"next"`
}

// Report makes the report and ends the counting.
func (c *Counter) Report() *Report {
	for i := range c.queue.slots {
		if m := &c.queue.slots[i]; m.class == claimed { // as long as what they are about is known
			c.decide(int32(i), &maillog.Event{MTA: m.mta, At: c.last})
		}
	}
	c.queue.end()
	r := &Report{
		Lines:  Lines{Used: c.lines[lineUsed], Nothing: c.lines[lineNothing], OtherPrograms: c.lines[lineElsewhere], NotUnderstood: c.lines[lineUnknown]},
		Delays: c.delays, Receipts: c.receipts, Postmaster: c.postmaster, Relayed: c.relayed, Programs: c.programs, Headless: c.headless, Again: c.again,
		Refused: c.refused, Forgotten: c.queue.dropped, Merged: c.full, Unjoined: c.unjoined, OwnGiven: len(c.options.Domains) > 0,
		Own: []string{}, Servers: []Server{}, Days: []Count{}, Causes: []Count{}, Receivers: []Count{}, For: []Count{}, Hosts: []Host{},
	}
	for _, n := range c.lines {
		r.Lines.Total += n
	}
	if c.last != 0 {
		r.From, r.To = stamp(c.first), stamp(c.last)
	}
	if c.options.Since != 0 {
		r.Since = stamp(c.options.Since)
	}
	own := c.own()
	for d, name := range c.domains.all {
		if d > others && own(uint32(d)) {
			r.Own = append(r.Own, name)
		}
	}
	if r.OwnGiven {
		r.Own = slices.Clone(c.options.Domains)
	}
	slices.Sort(r.Own)
	r.OwnKnown = r.OwnGiven || len(r.Own) > 0
	r.Ends = c.last < c.options.Since
	c.sumUp(r, own)
	c.sumOutward(r, own)
	r.Strangers, r.About = c.crowd.count(own)
	r.Waiting = max(0, r.Written-r.Left-r.Refused)
	if r.Backscatter > 0 {
		r.Share = float64(r.AtRcpt) / float64(r.Backscatter)
	}
	r.Next = r.next()
	return r
}

// sumOutward adds up whose null senders went to strangers: the lists see this server's address, whoever wrote them.
func (c *Counter) sumOutward(r *Report, own func(uint32) bool) {
	inner := map[uint32]int{}
	for o, n := range c.outward {
		switch {
		case n <= 0 || own(o.domain):
		case o.local:
			r.Answers += n
		case o.client > 0:
			inner[o.client] += n
			r.Inner += n
		}
	}
	r.Relayed -= r.Inner
	r.Insiders = list(inner, c.hosts.all)
}

func stamp(at int64) string { return time.Unix(at, 0).UTC().Format("2006-01-02 15:04:05") }

// groups are the same bounces, grouped in several ways.
type groups struct {
	days                     map[int32]int
	causes                   [numCauses]int
	receivers, failed, hosts map[uint32]int
	why                      map[uint32]*[numCauses]int
	inner                    map[uint32]bool
	servers                  [maillog.NumMTAs]int
	first                    int64
}

// sumUp adds the cells up.
func (c *Counter) sumUp(r *Report, own func(uint32) bool) {
	g := groups{
		days: map[int32]int{}, receivers: map[uint32]int{}, failed: map[uint32]int{}, hosts: map[uint32]int{}, why: map[uint32]*[numCauses]int{},
		inner: map[uint32]bool{},
	}
	for k, s := range c.cells {
		r.Left += s.n
		if own(k.domain) {
			r.OwnUsers += s.n
			continue
		}
		r.Backscatter += s.n
		ours := k.failed != 0 && k.cause != Elsewhere && own(k.failed)
		switch {
		case ours && (k.stage == maillog.StageRcpt || k.cause == UnknownUser):
			r.AtRcpt += s.n
		case ours && k.stage != maillog.StageOther && (k.cause == Content || k.cause == OverQuota || k.cause == Loop || k.stage == maillog.StageData):
			r.AtData += s.n
		default:
			r.Remaining += s.n
		}
		if r.OwnKnown && !ours && k.failed != 0 && (k.cause == UnknownUser || k.cause == OverQuota || k.cause == Content || k.cause == Other) {
			k.cause = Elsewhere
		}
		g.add(k, s, ours)
	}
	for mta := range g.servers {
		r.Written += c.written[mta]
		if c.byMTA[mta] > 0 {
			r.Servers = append(r.Servers, Server{maillog.MTA(mta).String(), c.byMTA[mta], c.written[mta], g.servers[mta]})
		}
	}
	g.put(c, r)
}

func (g *groups) add(k cell, s sum, ours bool) {
	g.days[k.day] += s.n
	g.causes[k.cause] += s.n
	g.receivers[k.domain] += s.n
	g.servers[k.mta] += s.n
	if g.first == 0 || s.first < g.first {
		g.first = s.first
	}
	if k.failed > 0 {
		g.failed[k.failed] += s.n
	}
	if k.host > 0 {
		g.hosts[k.host] += s.n
		if g.why[k.host] == nil {
			g.why[k.host] = new([numCauses]int)
		}
		g.why[k.host][k.cause] += s.n
		g.inner[k.host] = g.inner[k.host] || ours
	}
}

// put writes the groups into the report, the most frequent first and days in their order.
func (g *groups) put(c *Counter, r *Report) {
	r.Domains = len(g.receivers)
	if g.first != 0 {
		r.Began = stamp(g.first)
		r.FromStart = g.first-max(c.first, c.options.Since) < 3600
	}
	if n := len(g.days); n > 0 {
		var days []int32
		for d := range g.days {
			days = append(days, d)
		}
		for d := slices.Min(days); d <= slices.Max(days) && len(r.Days) < mostDays; d++ {
			r.Days = append(r.Days, Count{stamp(int64(d) * 86400)[:len("2006-01-02")], g.days[d]})
		}
	}
	for cause, n := range g.causes {
		if n > 0 {
			r.Causes = append(r.Causes, Count{Cause(cause).String(), n})
		}
	}
	descending(r.Causes)
	r.Receivers = list(g.receivers, c.domains.all)
	r.For = list(g.failed, c.domains.all)
	for _, h := range list(g.hosts, c.hosts.all) {
		number := uint32(others)
		if h.Name != otherNames {
			number = c.hosts.by[h.Name]
		}
		why := g.why[number]
		most := Cause(0)
		for cause, n := range why {
			if n > why[most] {
				most = Cause(cause)
			}
		}
		r.Hosts = append(r.Hosts, Host{h.Name, g.inner[number], most.String(), h.Count})
	}
}

// mostDays is what a log may span: one line with a wrong year must not make a million days.
const mostDays = 40_000

// otherNames is the name of what found no room.
const otherNames = "(others)"

func list(by map[uint32]int, names []string) []Count {
	all := make([]Count, 0, len(by))
	for number, n := range by {
		name := names[number]
		if number == others {
			name = otherNames
		}
		all = append(all, Count{name, n})
	}
	descending(all)
	return all
}

func descending(all []Count) {
	slices.SortFunc(all, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
}
