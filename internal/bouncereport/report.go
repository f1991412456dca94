// Package bouncereport makes a report of what a [tally.Tally] counted: which automatic mail came in and was or was not
// proven, what enforcing would have refused, and which server behind writes to people who never wrote. Beside the
// numbers it says in words what follows from them.
//
// It is a function of lines; who reads them, and who prints the report, stands above.
//
// # Limits
//
// Numbers only: the header From of incoming mail can be forged, so whether a sender is legitimate is guessed from what
// kind of mail it is. Why a server sends unproven mail is not in the counts: the words name the usual reasons.
package bouncereport

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"backstop/internal/bounce"
	"backstop/internal/tally"
)

// Report is how bounces and other automatic mail were judged over some days.
type Report struct {
	Since  tally.Day `json:"since"`            // the first day, of UTC
	Days   int       `json:"days"`             // today included
	Domain string    `json:"domain,omitempty"` // the only one asked for; "": all
	In     In        `json:"in"`
	Out    Out       `json:"out"`
}

// In is what came in for our users.
type In struct {
	Rows []InRow `json:"rows"`
	// WouldRefuse is how many came in that enforcing would have refused. What was refused is not among them.
	WouldRefuse uint64 `json:"would_refuse"`
	// Senders are the domains in the header From of what was not proven, the most frequent first.
	Senders []Sender `json:"senders"`
	Words   []string `json:"words"` // what follows from it
}

// InRow is one domain's mail of one kind.
type InRow struct {
	Domain   string            `json:"domain"`
	Kind     string            `json:"kind"`
	Proven   uint64            `json:"proven"`
	By       map[string]uint64 `json:"by,omitempty"` // which layer proved how many
	Unproven uint64            `json:"unproven"`     // and came in
	Exempt   uint64            `json:"exempt"`
	ExemptBy map[string]uint64 `json:"exempt_by,omitempty"` // which exemption excused how many
	Refused  uint64            `json:"refused"`             // because nothing proved it
	Stopped  uint64            `json:"stopped,omitempty"`   // unproven, and refused for another reason
	Unknown  uint64            `json:"unknown"`             // could not be judged
}

// Sender is where unproven mail says that it comes from.
type Sender struct {
	Sender string            `json:"sender"` // "": there is none that can be read
	Count  uint64            `json:"count"`
	Kinds  map[string]uint64 `json:"kinds"`
	// Likely says that some of it is of a kind that nobody forges: receipts, automatic replies, letters. Mail that names no
	// sender is nobody's.
	Likely bool `json:"looks_legitimate"`
}

// Out is what servers of ours wanted to send out.
type Out struct {
	Rows  []OutRow `json:"rows"`
	Words []string `json:"words"`
}

// OutRow is one server's automatic mail in the name of one domain.
type OutRow struct {
	Domain     string            `json:"domain"`
	Server     string            `json:"server"` // its address, or tally.Others
	Proven     uint64            `json:"proven"`
	By         map[string]uint64 `json:"by,omitempty"`
	Unproven   uint64            `json:"unproven"` // and left
	Redirected uint64            `json:"redirected"`
	Refused    uint64            `json:"refused"`           // because nothing proved it
	Stopped    uint64            `json:"stopped,omitempty"` // unproven, and refused for another reason
	Unknown    uint64            `json:"unknown"`           // could not be judged, and was deferred
	Kinds      map[string]uint64 `json:"kinds,omitempty"`   // of what was unproven, redirected or refused
}

// astray is how much was addressed to people who are not known to have written.
func (r *OutRow) astray() uint64 { return r.Unproven + r.Redirected + r.Refused }

// likely says that mail of this kind comes from people and their programs, and that nobody sends it for its own sake.
func likely(kind string) bool {
	switch kind {
	case bounce.Receipt.String(), bounce.AutoReply.String(), bounce.Feedback.String(), bounce.Ordinary.String():
		return true
	}
	return false
}

// Empty says that nothing was counted.
func (r *Report) Empty() bool { return len(r.In.Rows)+len(r.Out.Rows) == 0 }

// Make sums up what was counted in so many days, the first of which is since. Lines of domains other than domain are
// left out, unless it is "".
func Make(lines []tally.Line, days int, since tally.Day, domain string) Report {
	r := Report{Since: since, Days: days, Domain: domain}
	in, out, senders := map[[2]string]*InRow{}, map[[2]string]*OutRow{}, map[string]*Sender{}
	missed := map[string]uint64{}
	for i := range lines {
		l := &lines[i]
		switch {
		case domain != "" && l.Domain != domain:
		case l.Direction == tally.In:
			row := kept(in, [2]string{l.Domain, l.Kind}, InRow{Domain: l.Domain, Kind: l.Kind, By: map[string]uint64{}, ExemptBy: map[string]uint64{}})
			row.add(l)
			if l.Verdict == tally.Unproven || l.Verdict == tally.Refused {
				kept(senders, l.Sender, Sender{Sender: l.Sender, Kinds: map[string]uint64{}}).add(l)
			}
			if l.Verdict == tally.Unproven && l.Sender != "" && likely(l.Kind) {
				missed[l.Kind] += l.Count
			}
		case l.Direction == tally.Out:
			server := serverName(l.Server)
			kept(out, [2]string{l.Domain, server}, OutRow{Domain: l.Domain, Server: server, By: map[string]uint64{}, Kinds: map[string]uint64{}}).add(l)
		}
	}
	r.In.Rows = sorted(in, func(a, b *InRow) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Kind, b.Kind))
	})
	r.In.Senders = sorted(senders, func(a, b *Sender) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Sender, b.Sender))
	})
	r.Out.Rows = sorted(out, func(a, b *OutRow) int {
		return cmp.Or(cmp.Compare(b.astray(), a.astray()), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Server, b.Server))
	})
	for i := range r.In.Rows {
		r.In.WouldRefuse += r.In.Rows[i].Unproven
	}
	r.In.Words, r.Out.Words = r.wordsIn(missed), r.wordsOut()
	return r
}

// kept is what m holds under the key, made from first where it holds nothing.
func kept[K comparable, V any](m map[K]*V, key K, first V) *V {
	if m[key] == nil {
		m[key] = &first
	}
	return m[key]
}

func sorted[K comparable, V any](m map[K]*V, compare func(a, b *V) int) []V {
	rows := slices.SortedFunc(maps.Values(m), compare)
	all := make([]V, len(rows))
	for i, r := range rows {
		all[i] = *r
	}
	return all
}

func serverName(a netip.Addr) string {
	if !a.IsValid() {
		return tally.Others
	}
	return a.String()
}

func (s *Sender) add(l *tally.Line) {
	s.Count += l.Count
	s.Kinds[l.Kind] += l.Count
	s.Likely = s.Likely || s.Sender != "" && likely(l.Kind)
}

func (r *InRow) add(l *tally.Line) {
	switch l.Verdict {
	case tally.Proven:
		r.Proven += l.Count
		r.By[l.By] += l.Count
	case tally.Unproven:
		r.Unproven += l.Count
	case tally.Exempt:
		r.Exempt += l.Count
		r.ExemptBy[l.By] += l.Count
	case tally.Refused:
		r.Refused += l.Count
	case tally.Stopped:
		r.Stopped += l.Count
	default:
		r.Unknown += l.Count
	}
}

func (r *OutRow) add(l *tally.Line) {
	switch l.Verdict {
	case tally.Proven:
		r.Proven += l.Count
		r.By[l.By] += l.Count
		return
	case tally.Redirected:
		r.Redirected += l.Count
	case tally.Refused:
		r.Refused += l.Count
	case tally.Unproven:
		r.Unproven += l.Count
	case tally.Stopped:
		r.Stopped += l.Count
		return
	default:
		r.Unknown += l.Count
		return
	}
	r.Kinds[l.Kind] += l.Count
}
