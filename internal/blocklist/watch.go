package blocklist

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// Patience is how many checks in a row a list may fail before that is told: a resolver that is restarted, or a
// name server that is away for a moment, is nobody's business.
const Patience = 3

// Again is when a list that could not be asked is asked again, until Patience is at its end: then it waits for
// its turn as all others do.
const Again = 10 * time.Minute

// WatchConfig is what a Watch needs.
type WatchConfig struct {
	Resolver  Resolver
	Zones     []string
	Addresses []netip.Addr  // public ones
	Every     time.Duration // from the end of one check to the next; sooner (Again) while a list has just begun to fail
	Now       func() time.Time
	Logger    *slog.Logger
}

// Watch checks addresses again and again, and logs each change once: listed, no longer listed, a list that cannot be
// asked for Patience checks, and one that can be asked again.
//
// What could not be found out ends no alarm: an address that was listed stays so, and any other is Unknown. That an
// address is there no more is silence, and silence is believed only of a list that answers: so it has to be seen again in a
// later check, by a test entry that no memory on the way can have kept from the first.
type Watch struct {
	c WatchConfig

	mu    sync.Mutex
	pairs map[pair]*Entry
	lists map[string]*ListState
}

type pair struct {
	zone    string
	address netip.Addr
}

// Entry is what one list says of one address.
type Entry struct {
	Zone     string
	Address  netip.Addr
	Standing Standing  // Unknown: nothing was found out yet, or it was not listed and the last check could not tell
	Since    time.Time // it is so; zero while it is Unknown
	Codes    []netip.Addr
	Text     []string
	Why      string // NotCovered: why; Listed, and the last check did not find it: what that waits for

	toldOf bool      // the log has heard that the list does not have such addresses
	sure   time.Time // Listed: when it is believed that it is listed no more; zero: the last check did not find that
}

// ListState is how one list does.
type ListState struct {
	Zone  string
	Asked bool      // it was checked
	Up    bool      // in the last check it told of every address
	Fails int       // checks in a row in which it did not
	Since time.Time // of the first of them
	Told  bool      // once at least it has told of every address
	Why   string
}

// Lost says that a list could not be asked for so long that somebody should look.
func (l ListState) Lost() bool { return l.Fails >= Patience }

// WatchState is what a Watch knows, in the order of its configuration.
type WatchState struct {
	Entries []Entry
	Lists   []ListState
}

// NewWatch makes a Watch, which asks nobody before Run. What before (which may be nil) has found out about the same lists
// and addresses is taken over, so that a changed configuration does not tell old news; its Run must have returned.
func NewWatch(c WatchConfig, before *Watch) *Watch {
	w := &Watch{c: c, pairs: map[pair]*Entry{}, lists: map[string]*ListState{}}
	for _, zone := range c.Zones {
		w.lists[zone] = &ListState{Zone: zone}
		for _, a := range c.Addresses {
			w.pairs[pair{zone, a}] = &Entry{Zone: zone, Address: a}
		}
	}
	if before == nil {
		return w
	}
	for p := range w.pairs {
		if old := before.pairs[p]; old != nil {
			e := *old // who still reads the state of before is not disturbed
			w.pairs[p] = &e
		}
	}
	for zone := range w.lists {
		if old := before.lists[zone]; old != nil {
			l := *old
			w.lists[zone] = &l
		}
	}
	return w
}

// Run checks at once, and then again and again until ctx ends. It leaves nothing running behind.
func (w *Watch) Run(ctx context.Context) {
	for {
		w.check(ctx)
		next := time.NewTimer(w.pause())
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
		}
	}
}

// pause is how long it is to the next check.
func (w *Watch) pause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.c.Every
	for _, l := range w.lists {
		if l.Fails > 0 && !l.Lost() {
			next = min(next, Again)
		}
	}
	for _, e := range w.pairs {
		if !e.sure.IsZero() {
			next = min(next, max(Again, e.sure.Sub(w.c.Now())))
		}
	}
	return next
}

// check asks all lists about all addresses once.
func (w *Watch) check(ctx context.Context) {
	results := (&Checker{Resolver: w.c.Resolver}).Check(ctx, w.c.Zones, w.c.Addresses)
	if ctx.Err() != nil {
		return // what was cut off says nothing of the lists
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	failed := map[string]string{}
	for _, r := range results {
		if r.Standing != Unknown {
			w.found(r)
			continue
		}
		w.pairs[pair{r.Zone, r.Address}].lose()
		if failed[r.Zone] == "" {
			failed[r.Zone] = r.Why
		}
	}
	for _, zone := range w.c.Zones {
		w.asked(w.lists[zone], failed[zone])
	}
}

// lose takes that a list did not tell: what was good is not known any more.
func (e *Entry) lose() {
	e.Why, e.sure = "", time.Time{}
	if e.Standing != Listed {
		e.Standing, e.Since = Unknown, time.Time{}
	}
}

// gone says whether to believe at this time that a listed address is so no more.
func (e *Entry) gone(r Result, now time.Time) bool {
	if e.sure.IsZero() {
		e.sure = now.Add(r.Kept)
		e.Why = "it is not on the list any more; the next check after " + e.sure.UTC().Format(time.RFC3339) + " makes that sure"
		return false
	}
	return !now.Before(e.sure)
}

// found takes what a list said of an address.
func (w *Watch) found(r Result) {
	e := w.pairs[pair{r.Zone, r.Address}]
	was, since := e.Standing, e.Since
	if was == Listed && r.Standing != Listed && !e.gone(r, w.c.Now()) {
		return
	}
	e.Codes, e.Text, e.Why, e.sure = r.Codes, r.Text, r.Why, time.Time{}
	if r.Standing == was {
		return
	}
	e.Standing, e.Since = r.Standing, w.c.Now()
	log := w.c.Logger.With("list", r.Zone, "address", r.Address.String())
	switch {
	case r.Standing == Listed:
		known := Known(r.Zone)
		args := []any{"code", join(r.Codes)}
		if len(r.Text) > 0 {
			args = append(args, "text", r.Text[0])
		}
		if known.Off != "" {
			args = append(args, "comes_off", known.Off, "url", known.URL(r.Address))
		}
		log.Warn("an address of ours is listed", args...)
	case was == Listed:
		log.Info("an address of ours is no longer listed", "listed_for", w.c.Now().Sub(since).Round(time.Second).String())
	case r.Standing == NotCovered && !e.toldOf:
		e.toldOf = true
		log.Info("a blocklist does not list such addresses", "why", r.Why)
	}
}

func join(codes []netip.Addr) string {
	s := ""
	for i, c := range codes {
		if i > 0 {
			s += " "
		}
		s += c.String()
	}
	return s
}

// asked takes how a list did as a whole; why is "" where it told of every address.
func (w *Watch) asked(l *ListState, why string) {
	l.Asked, l.Up = true, why == ""
	if !l.Up {
		if l.Fails == 0 {
			l.Since = w.c.Now()
		}
		l.Fails, l.Why = l.Fails+1, why
		if l.Fails == Patience {
			w.c.Logger.Warn("a blocklist cannot be asked, so nobody knows whether we are listed there", "list", l.Zone, "checks", l.Fails, "error", why)
		}
		return
	}
	if l.Lost() {
		w.c.Logger.Info("a blocklist can be asked again", "list", l.Zone, "away_for", w.c.Now().Sub(l.Since).Round(time.Second).String())
	}
	l.Fails, l.Since, l.Why, l.Told = 0, time.Time{}, "", true
}

// State says what is known now. It asks nobody.
func (w *Watch) State() WatchState {
	w.mu.Lock()
	defer w.mu.Unlock()
	var st WatchState
	for _, zone := range w.c.Zones {
		st.Lists = append(st.Lists, *w.lists[zone])
	}
	for _, a := range w.c.Addresses {
		for _, zone := range w.c.Zones {
			st.Entries = append(st.Entries, *w.pairs[pair{zone, a}])
		}
	}
	return st
}
