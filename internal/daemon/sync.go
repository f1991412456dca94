package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"backstop/internal/directory/synced"
	"backstop/internal/directory/watch"
)

// SyncResult is how the refreshing of one source went.
type SyncResult struct {
	Source  string  `json:"source"`
	Before  int     `json:"before"` // recipients
	Entries int     `json:"entries"`
	Changed bool    `json:"changed"`
	Full    bool    `json:"full,omitempty"` // everything was pulled, and not the changes
	Bad     int     `json:"bad,omitempty"`  // addresses that are none, and were passed over
	Seconds float64 `json:"seconds"`
	Held    []Loss  `json:"held,omitempty"` // why the pull was held back
	Error   string  `json:"error,omitempty"`
}

// Loss is what a domain would lose by a pull that is held back.
type Loss struct {
	Domain string `json:"domain"`
	Before int    `json:"before"`
	After  int    `json:"after"`
	Lost   int    `json:"lost"` // who were there and are no more; there may be others in their place
}

// Sync refreshes the sources of these names, or all that answer from a copy or a file;
// confirm takes over what was held back. The error is about the names.
func (d *Daemon) Sync(ctx context.Context, names []string, confirm bool) ([]SyncResult, error) {
	s := d.current.Load()
	jobs, err := s.refreshers(names)
	if err != nil {
		return nil, err
	}
	results := make([]SyncResult, 0, len(jobs))
	for _, j := range jobs {
		r := j.refresh(ctx, confirm)
		r.Source = j.name
		results = append(results, r)
	}
	return results, nil
}

// refresher is a source that can be refreshed.
type refresher struct {
	name    string
	refresh func(ctx context.Context, confirm bool) SyncResult
}

// refreshers are the sources of these names, in this order; of none, all, sorted.
func (s *setup) refreshers(names []string) ([]refresher, error) {
	all := map[string]refresher{}
	for name, p := range s.plugs {
		if p.copied != nil {
			all[name] = refresher{name, p.pull}
		}
	}
	files := map[string]looks{}
	for _, l := range s.lists {
		files[l.Name()] = append(files[l.Name()], l)
	}
	for _, m := range s.maps {
		files[m.Name()] = append(files[m.Name()], m)
	}
	for name, l := range files {
		all[name] = refresher{name, l.refresh}
	}
	known := make([]string, 0, len(all))
	for name := range all {
		known = append(known, name)
	}
	slices.Sort(known)
	if len(names) == 0 {
		names = known
	}
	var jobs []refresher
	for _, name := range names {
		j, ok := all[name]
		if !ok {
			return nil, s.notRefreshed(name, known)
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// notRefreshed says why a name means no source that can be refreshed.
func (s *setup) notRefreshed(name string, known []string) error {
	why := fmt.Errorf("there is no source %q", name)
	for i := range s.cfg.Domains {
		for _, src := range s.cfg.Domains[i].Sources {
			if src.Name == name {
				why = fmt.Errorf("source %s is asked each time, so there is nothing to refresh", name)
			}
		}
	}
	if len(known) == 0 {
		return &hinted{why, "no source of this configuration answers from a copy or a file"}
	}
	return &hinted{why, "these can be refreshed: " + strings.Join(known, ", ")}
}

func (p *plug) pull(ctx context.Context, confirm bool) SyncResult {
	began := time.Now()
	r, err := p.copied.Sync(ctx, confirm)
	out := SyncResult{
		Before: r.Before, Entries: r.Entries, Changed: r.Changed, Full: r.Full, Bad: r.Bad,
		Seconds: time.Since(began).Seconds(), Held: losses(r.Held),
	}
	if err != nil && !errors.Is(err, synced.ErrHeld) {
		out.Error = err.Error()
	}
	return out
}

// looks are the readings of one file: domains with other aliases have their own.
type looks []interface {
	State() watch.State
	Look(context.Context) (watch.State, error)
}

// refresh has the file read where it has changed.
func (l looks) refresh(ctx context.Context, _ bool) SyncResult {
	began := time.Now()
	var out SyncResult
	for _, f := range l {
		before := f.State()
		now, err := f.Look(ctx)
		out.Before, out.Entries = before.Entries, now.Entries
		out.Changed = out.Changed || !now.Read.Equal(before.Read)
		if err = errors.Join(err, now.Err); err != nil {
			out.Error = err.Error()
		}
	}
	out.Seconds = time.Since(began).Seconds()
	return out
}

func losses(h *synced.Held) []Loss {
	if h == nil {
		return nil
	}
	all := make([]Loss, 0, len(h.Domains))
	for _, l := range h.Domains {
		all = append(all, Loss{l.Domain, l.Before, l.After, l.Lost})
	}
	if len(all) == 0 { // the first pull found nobody
		all = append(all, Loss{Before: h.Before, After: h.After, Lost: h.Before})
	}
	return all
}

func (d *Daemon) serveSync(w http.ResponseWriter, r *http.Request) {
	// A pull takes as long as the directory is large. (A read deadline that runs out ends the
	// request's context as well.)
	control := http.NewResponseController(w)
	if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})); err != nil {
		d.log.Warn("a long pull may not be answered", "error", err.Error())
	}
	r.ParseForm()
	results, err := d.Sync(r.Context(), r.Form["source"], r.Form.Get("confirm") != "")
	if err != nil {
		f := failure{Error: err.Error()}
		var h *hinted
		if errors.As(err, &h) {
			f.Hint = h.hint
		}
		writeJSON(w, http.StatusBadRequest, f)
		return
	}
	writeJSON(w, http.StatusOK, results)
}
