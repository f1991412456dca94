package directory

import (
	"context"
	"fmt"
	"strings"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Entry is one remembered answer, as a store keeps it.
type Entry struct {
	Source   string // Source.Name
	Address  string // mail.Address.Key
	Standing evidence.Standing
	At       time.Time     // when the answer was given
	Life     time.Duration // missing only: how long it is fresh
	Detail   string
}

// Store keeps answers over a restart. Its methods are called from one
// goroutine at a time.
type Store interface {
	// Load calls f for each entry, the youngest first, until f fails, and returns f's
	// error or its own.
	Load(ctx context.Context, f func(Entry) error) error
	// Save writes the entries, all or none; an entry replaces the one of the same
	// source and address.
	Save(ctx context.Context, entries []Entry) error
	// Forget drops the entries that the pattern means.
	Forget(ctx context.Context, p Pattern) error
	// Expire drops what was given before these moments.
	Expire(ctx context.Context, exists, missing time.Time) error
}

// Pattern says which answers are meant: one address, one domain, or all.
// The zero value is all.
type Pattern struct {
	Address string // mail.Address.Key, or ""
	Domain  string // folded, or ""
}

// ParsePattern reads "user@example.org", "@example.org", or "*" for all.
func ParsePattern(s string) (Pattern, error) {
	if s == "*" {
		return Pattern{}, nil
	}
	if d, ok := strings.CutPrefix(s, "@"); ok {
		d, err := mail.FoldDomain(d)
		if err != nil {
			return Pattern{}, err
		}
		return Pattern{Domain: d}, nil
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return Pattern{}, err
	}
	if a.Domain() == "" {
		return Pattern{}, fmt.Errorf("%q has no domain", s)
	}
	return Pattern{Address: a.Key()}, nil
}

// Match says whether the pattern means the address with this key.
func (p Pattern) Match(key string) bool {
	switch {
	case p.Address != "":
		return key == p.Address
	case p.Domain != "":
		return domainOf(key) == p.Domain
	}
	return true
}

// String is the pattern as ParsePattern reads it.
func (p Pattern) String() string {
	switch {
	case p.Address != "":
		return p.Address
	case p.Domain != "":
		return "@" + p.Domain
	}
	return "*"
}

// domainOf is the domain of an address's key. A quoted local part may hold an
// "@", a domain never does.
func domainOf(key string) string { return key[strings.LastIndexByte(key, '@')+1:] }
