package directory

import (
	"context"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Directory knows who exists. Its methods are called from many goroutines.
type Directory struct {
	cfg Config
}

// New makes a directory and reads what its store kept. A store that cannot be
// read is reported to the logger and costs questions, nothing else.
func New(cfg Config) *Directory { return &Directory{cfg: cfg} }

// Lookup asks the chain. It always answers: Exists, Missing, Unavailable, or,
// with CutThrough, LeftToDownstream. When ctx ends first the answer is what an
// unavailable source gives; the question itself goes on for others who wait for it.
//
// After LeftToDownstream and a downstream that could not be reached, ask again
// with NoAsk and without CutThrough: a recipient known to be missing is found so.
func (d *Directory) Lookup(ctx context.Context, chain *Chain, q Query) evidence.Directory {
	return evidence.Directory{Standing: evidence.Unavailable, Source: chain.name}
}

// Trace is Lookup with what each source said, in the order in which they were asked.
func (d *Directory) Trace(ctx context.Context, chain *Chain, q Query) (evidence.Directory, []Finding) {
	return d.Lookup(ctx, chain, q), nil
}

// Learn takes the downstream's answer to a real RCPT for an answer of the
// domain's relay. Only "no such user" is missing, and only an acceptance by a
// relay that is not blind is exists; everything else teaches nothing.
func (d *Directory) Learn(chain *Chain, addr mail.Address, a evidence.Answer) {}

// Forget drops remembered answers, here and in the store, and says how many.
func (d *Directory) Forget(p Pattern) int { return 0 }

// Stat says what is remembered, by domain, sorted by name.
func (d *Directory) Stat() []DomainStat { return nil }

// Counts says how many answers of each kind are remembered.
func (d *Directory) Counts() (exists, missing int) { return 0, 0 }

// Close ends what runs in the background, and writes to the store what is not
// there yet. Lookups after it answer from memory alone.
func (d *Directory) Close() error { return nil }
