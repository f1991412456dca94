package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"backstop/internal/batv"
	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/session"
)

// ExplainRequest is one transaction to decide without sending it.
type ExplainRequest struct {
	Client   netip.Addr
	Helo     string
	From     mail.ReversePath
	To       []mail.Address
	Message  []byte    // nil: the message is not judged
	NoAsk    bool      // consult no other server
	Outbound bool      // as mail that leaves by [outbound]
	At       time.Time // zero: now
}

// ExplainResult is its verdict, with everything that was weighed.
type ExplainResult = session.Explanation

// Explain decides a transaction as the SMTP door would, except that the
// domain's relay is asked in a session of its own and nothing is delivered.
func (d *Daemon) Explain(ctx context.Context, r ExplainRequest) (ExplainResult, error) {
	if !r.Client.IsValid() {
		return ExplainResult{}, fmt.Errorf("explain needs the client's address")
	}
	return d.current.Load().engine.Explain(ctx, session.Question(r)), nil
}

// untagged is an address without a BATV tag, as sessions look it up.
func (d *Daemon) untagged(a mail.Address) mail.Address {
	return batv.Verify(d.ring(), a, d.o.Now()).Address
}

// LookupOptions say how to look up.
type LookupOptions struct {
	At    time.Time // zero: now
	NoAsk bool
}

// LookupResult is who says that a recipient exists.
type LookupResult struct {
	Address  string       `json:"address"`
	Standing string       `json:"standing"`
	Source   string       `json:"source"`
	AgeS     float64      `json:"age_s"`
	Trail    []LookupStep `json:"trail"`
}

// LookupStep is what one source said.
type LookupStep struct {
	Source   string  `json:"source"`
	Address  string  `json:"address,omitempty"`
	Standing string  `json:"standing"`
	AgeS     float64 `json:"age_s"`
	Cached   bool    `json:"cached,omitempty"`
	Stale    bool    `json:"stale,omitempty"`
	Blind    bool    `json:"blind,omitempty"`
	Detail   string  `json:"detail,omitempty"`
	MS       float64 `json:"ms"`
}

// Lookup asks each source of the address's domain in order. A domain that is
// not ours is missing: nobody would take mail for it here.
func (d *Daemon) Lookup(ctx context.Context, a mail.Address, o LookupOptions) (LookupResult, error) {
	s := d.current.Load()
	res := LookupResult{Address: a.String(), Trail: []LookupStep{}}
	if a.Domain() == "" && a.IsPostmaster() && !s.cfg.Postmaster.IsZero() {
		a = s.cfg.Postmaster
	}
	if a.Domain() == "" {
		return res, fmt.Errorf("%q has no domain", a.String())
	}
	r := s.cfg.Routes.Find(a.Domain())
	if r == nil {
		res.Standing, res.Source = "missing", "configuration"
		res.Trail = append(res.Trail, LookupStep{Source: "configuration", Standing: "missing", Detail: a.Domain() + " is not a domain of ours"})
		return res, nil
	}
	a = d.untagged(a)
	found, steps := d.directory.Trace(ctx, s.domains[r].Chain, directory.Query{
		Address: r.Canonical(a), Subaddress: r.Subaddress, NoAsk: o.NoAsk, At: o.At,
	})
	res.Standing, res.Source, res.AgeS = found.Standing.String(), found.Source, seconds(found.Age)
	for _, f := range steps {
		res.Trail = append(res.Trail, LookupStep{
			Source: f.Source, Address: f.Address, Standing: f.Standing.String(), AgeS: seconds(f.Age),
			Cached: f.Cached, Stale: f.Stale, Blind: f.Blind, Detail: f.Detail, MS: millis(f.Took),
		})
	}
	// A list that does not name somebody leaves the word to the next source; as the
	// last one it has said no.
	if n := len(res.Trail); n > 0 && found.Standing == evidence.Missing && res.Trail[n-1].Standing == evidence.NotAsked.String() {
		res.Trail[n-1].Standing, res.Trail[n-1].Detail = found.Standing.String(), "the list does not name it"
	}
	return res, nil
}
