package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"backstop/internal/mail"
	"backstop/internal/store/sqlite"
	"backstop/internal/tally"
)

// BounceReport is how bounces and other automatic mail were judged over some days.
type BounceReport struct {
	Since  tally.Day  `json:"since"`            // the first day, of UTC
	Days   int        `json:"days"`             // today included
	Domain string     `json:"domain,omitempty"` // the only one asked for; "": all
	In     BouncesIn  `json:"in"`
	Out    BouncesOut `json:"out"`
}

// BouncesIn is what came in for our users.
type BouncesIn struct {
	Rows []BounceInRow `json:"rows"`
	// WouldRefuse is how many passed that enforcing would have refused.
	WouldRefuse uint64 `json:"would_refuse"`
	// Senders are the domains in the header From of what was not proven, the most frequent first.
	Senders []BounceSender `json:"senders"`
	Words   []string       `json:"words"` // what follows from it
}

// BounceInRow is one domain's mail of one kind.
type BounceInRow struct {
	Domain   string            `json:"domain"`
	Kind     string            `json:"kind"`
	Proven   uint64            `json:"proven"`
	By       map[string]uint64 `json:"by,omitempty"` // which layer proved how many
	Unproven uint64            `json:"unproven"`     // and passed
	Exempt   uint64            `json:"exempt"`
	Refused  uint64            `json:"refused"`
	Unknown  uint64            `json:"unknown"` // could not be judged
}

// BounceSender is where unproven mail says that it comes from.
type BounceSender struct {
	Sender string            `json:"sender"` // "": there is none that can be read
	Count  uint64            `json:"count"`
	Kinds  map[string]uint64 `json:"kinds"`
	// Likely says that some of it is of a kind that nobody forges: receipts, automatic replies, letters.
	Likely bool `json:"looks_legitimate"`
}

// BouncesOut is what servers of ours wanted to send out.
type BouncesOut struct {
	Rows  []BounceOutRow `json:"rows"`
	Words []string       `json:"words"`
}

// BounceOutRow is one server's automatic mail in the name of one domain.
type BounceOutRow struct {
	Domain     string            `json:"domain"`
	Server     string            `json:"server"` // its address, or tally.Others
	Proven     uint64            `json:"proven"`
	By         map[string]uint64 `json:"by,omitempty"`
	Unproven   uint64            `json:"unproven"` // and left
	Redirected uint64            `json:"redirected"`
	Refused    uint64            `json:"refused"`
	Unknown    uint64            `json:"unknown"`         // could not be judged, and was deferred
	Kinds      map[string]uint64 `json:"kinds,omitempty"` // of what was not proven
}

// astray is how much was addressed to people who are not known to have written.
func (r *BounceOutRow) astray() uint64 { return r.Unproven + r.Redirected + r.Refused }

// likelyKinds are kinds that come from people and their programs, and that nobody sends for their own sake.
var likelyKinds = []string{"receipt", "auto-reply", "feedback", "ordinary"}

// Empty says that nothing was counted.
func (r *BounceReport) Empty() bool { return len(r.In.Rows)+len(r.Out.Rows) == 0 }

// bounceDays checks how many days are asked for.
func bounceDays(n int) error {
	if n < 1 || n > tally.KeepDays+1 {
		return &hinted{fmt.Errorf("%d days cannot be reported", n), fmt.Sprintf("the counts of %d days are kept, today included", tally.KeepDays+1)}
	}
	return nil
}

// firstOf is the moment from which that many days are counted, the day of now included.
func firstOf(days int, now time.Time) time.Time { return now.AddDate(0, 0, 1-days) }

// Bounces reports what was counted in the last days, today included; domain may be "" for all.
func (d *Daemon) Bounces(ctx context.Context, days int, domain string) (BounceReport, error) {
	if err := bounceDays(days); err != nil {
		return BounceReport{}, err
	}
	since := firstOf(days, d.o.Now())
	lines, err := d.tally.Report(ctx, since)
	if err != nil {
		return BounceReport{}, err
	}
	return bounceReport(lines, days, since, domain), nil
}

// ReadBounces is Bounces for a state folder whose daemon does not run. The error wraps
// fs.ErrNotExist where there is none.
func ReadBounces(ctx context.Context, state string, days int, domain string, now time.Time) (BounceReport, error) {
	if err := bounceDays(days); err != nil {
		return BounceReport{}, err
	}
	store, err := sqlite.OpenRead(state)
	if err != nil {
		return BounceReport{}, err
	}
	defer store.Close()
	since := firstOf(days, now)
	var lines []tally.Line
	err = store.LoadTally(ctx, tally.DayOf(since), func(l tally.Line) error {
		lines = append(lines, l)
		return nil
	})
	if err != nil {
		return BounceReport{}, err
	}
	return bounceReport(lines, days, since, domain), nil
}

// bounceTime bounds one report.
const bounceTime = 5 * time.Second

func (d *Daemon) serveBounces(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), bounceTime)
	defer cancel()
	days, err := strconv.Atoi(r.FormValue("days"))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, failure{"days is no number", "write days=7"})
		return
	}
	if err := bounceDays(days); err != nil {
		writeJSON(w, http.StatusBadRequest, failure{err.Error(), err.(*hinted).Hint()})
		return
	}
	domain := r.FormValue("domain")
	if domain != "" {
		if domain, err = mail.FoldDomain(domain); err != nil {
			writeJSON(w, http.StatusBadRequest, failure{err.Error(), "write domain=example.com"})
			return
		}
	}
	report, err := d.Bounces(ctx, days, domain)
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, failure{err.Error(), "the log says whether the state folder can be read"})
		return
	}
	writeJSON(w, http.StatusOK, report)
}

// bounceReport sums the lines up.
func bounceReport(lines []tally.Line, days int, since time.Time, domain string) BounceReport {
	r := BounceReport{Since: tally.DayOf(since), Days: days, Domain: domain}
	in, out, senders := map[[2]string]*BounceInRow{}, map[[2]string]*BounceOutRow{}, map[string]*BounceSender{}
	for i := range lines {
		l := &lines[i]
		switch {
		case domain != "" && l.Domain != domain:
		case l.Direction == tally.In:
			kept(in, [2]string{l.Domain, l.Kind}, BounceInRow{Domain: l.Domain, Kind: l.Kind, By: map[string]uint64{}}).add(l)
			if l.Verdict == tally.Unproven || l.Verdict == tally.Refused {
				s := kept(senders, l.Sender, BounceSender{Sender: l.Sender, Kinds: map[string]uint64{}})
				s.Count += l.Count
				s.Kinds[l.Kind] += l.Count
				s.Likely = s.Likely || slices.Contains(likelyKinds, l.Kind)
			}
		case l.Direction == tally.Out:
			server := serverName(l.Server)
			kept(out, [2]string{l.Domain, server}, BounceOutRow{Domain: l.Domain, Server: server, By: map[string]uint64{}, Kinds: map[string]uint64{}}).add(l)
		}
	}
	r.In.Rows = sorted(in, func(a, b *BounceInRow) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Kind, b.Kind))
	})
	r.In.Senders = sorted(senders, func(a, b *BounceSender) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Sender, b.Sender))
	})
	r.Out.Rows = sorted(out, func(a, b *BounceOutRow) int {
		return cmp.Or(cmp.Compare(b.astray(), a.astray()), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Server, b.Server))
	})
	for _, row := range r.In.Rows {
		r.In.WouldRefuse += row.Unproven
	}
	r.In.Words, r.Out.Words = r.wordsIn(), r.wordsOut()
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

func (r *BounceInRow) add(l *tally.Line) {
	switch l.Verdict {
	case tally.Proven:
		r.Proven += l.Count
		r.By[l.By] += l.Count
	case tally.Unproven:
		r.Unproven += l.Count
	case tally.Exempt:
		r.Exempt += l.Count
	case tally.Refused:
		r.Refused += l.Count
	default:
		r.Unknown += l.Count
	}
}

func (r *BounceOutRow) add(l *tally.Line) {
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
	default:
		r.Unknown += l.Count
		return
	}
	r.Kinds[l.Kind] += l.Count
}
