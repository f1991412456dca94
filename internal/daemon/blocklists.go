package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"backstop/internal/blocklist"
	"backstop/internal/config"
	"backstop/internal/metrics"
	"backstop/internal/resolver"
)

// BlocklistStatus is what a DNS blocklist says of an address of ours.
type BlocklistStatus struct {
	List     string    `json:"list"`
	Address  string    `json:"address"`
	Standing string    `json:"standing"`         // listed, clean, not-covered, or unknown (nothing was found out yet, or the last check could not tell)
	Since    time.Time `json:"since,omitzero"`   // it is so
	Codes    []string  `json:"codes,omitempty"`  // listed: the list's answers
	Text     []string  `json:"text,omitempty"`   // listed: what the list says of it
	Off      string    `json:"off,omitempty"`    // listed: how to get off
	URL      string    `json:"url,omitempty"`    // listed: the list's page
	Detail   string    `json:"detail,omitempty"` // why nothing is known, why what is known may be old, or what "listed" waits for before it ends
}

// blocklists is the watch that runs over our own addresses.
type blocklists struct {
	of   config.Blocklists
	dns  *resolver.Resolver
	w    *blocklist.Watch
	stop func() // returns when nothing of it runs any more
}

// watchBlocklists begins the watch that a setup wants, and ends the one that runs, if that is another; d.mu is held. It
// is called while the resolver of the setup before is still open: a question that is cut off is no finding.
func (d *Daemon) watchBlocklists(s *setup) {
	want, old := s.cfg.Blocklists, d.blocklists.Load()
	if old != nil && old.dns == s.dns && old.of.Every == want.Every && slices.Equal(old.of.Lists, want.Lists) && slices.Equal(old.of.Watch, want.Watch) {
		return
	}
	var before *blocklist.Watch
	if old != nil {
		old.stop()
		before = old.w
	}
	if !want.Watches() {
		d.blocklists.Store(nil)
		return
	}
	w := blocklist.NewWatch(blocklist.WatchConfig{
		Resolver: s.dns, Zones: want.Lists, Addresses: want.Watch, Every: want.Every, Now: d.o.Now, Logger: d.log,
	}, before)
	ctx, cancel := context.WithCancel(d.life)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx)
	}()
	d.blocklists.Store(&blocklists{of: want, dns: s.dns, w: w, stop: func() { cancel(); <-ended }})
}

// stopBlocklists ends the watch; what it has found out can still be read.
func (d *Daemon) stopBlocklists() {
	if b := d.blocklists.Load(); b != nil {
		b.stop()
	}
}

// blocklistStatus adds where we are listed, and which lists cannot be asked.
func (d *Daemon) blocklistStatus(st *Status) {
	b := d.blocklists.Load()
	if b == nil {
		return
	}
	state := b.w.State()
	why := map[string]string{}
	for _, l := range state.Lists {
		if l.Fails > 0 {
			why[l.Zone] = l.Why
		}
		if l.Lost() || l.Fails > 0 && !l.Told { // of one that has told before it may be a moment's trouble
			st.Wrong = append(st.Wrong, fmt.Sprintf("blocklist %s cannot be asked since %s: %s", l.Zone, l.Since.UTC().Format(time.RFC3339), l.Why))
		}
	}
	for _, e := range state.Entries {
		one := BlocklistStatus{List: e.Zone, Address: e.Address.String(), Standing: e.Standing.String(), Since: e.Since, Text: e.Text, Detail: e.Why}
		if w := why[e.Zone]; w != "" {
			one.Detail = w
		}
		if e.Standing == blocklist.Listed {
			known := blocklist.Known(e.Zone)
			one.Codes, one.Off, one.URL = codes(e.Codes), known.Off, known.URL(e.Address)
			wrong := fmt.Sprintf("%s is listed at %s, noticed %s", one.Address, one.List, one.Since.UTC().Format(time.RFC3339))
			if one.Off != "" {
				wrong += fmt.Sprintf("; it comes off %s: %s", one.Off, one.URL)
			}
			st.Wrong = append(st.Wrong, wrong)
		}
		st.Blocklists = append(st.Blocklists, one)
	}
}

func codes(addrs []netip.Addr) (out []string) {
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

// blocklistFigures is what /metrics shows of it. What is not known has no figure.
func (d *Daemon) blocklistFigures(st *metrics.State) {
	b := d.blocklists.Load()
	if b == nil {
		return
	}
	state := b.w.State()
	st.BlocklistUp, st.BlocklistListed = map[string]bool{}, map[metrics.OnList]bool{}
	for _, l := range state.Lists {
		if l.Asked {
			st.BlocklistUp[l.Zone] = l.Up
		}
	}
	for _, e := range state.Entries {
		if e.Standing == blocklist.Listed || e.Standing == blocklist.Clean {
			st.BlocklistListed[metrics.OnList{List: e.Zone, Address: e.Address.String()}] = e.Standing == blocklist.Listed
		}
	}
}
