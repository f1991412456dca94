package ldapdir

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"backstop/internal/directory/book"
)

// addresses are those in an entry's attributes.
func (p *pull) addresses(ctx context.Context, e *ldap.Entry) ([]string, error) {
	var all []string
	for _, a := range e.Attributes {
		name, next, err := partial(a.Name)
		if err != nil {
			return nil, err
		}
		if !p.wanted(name) {
			continue
		}
		all = addressesIn(all, name, a.Values)
		for next > 0 {
			values, then, err := p.rest(ctx, e.DN, name, next)
			if err != nil {
				return nil, err
			}
			all, next = addressesIn(all, name, values), then
		}
	}
	return all, nil
}

func (p *pull) wanted(name string) bool {
	for _, a := range p.s.cfg.Attributes {
		if strings.EqualFold(a, name) {
			return true
		}
	}
	return false
}

// rest reads the values of an attribute from the given one on. next is where they go
// on; 0: these were the last.
func (p *pull) rest(ctx context.Context, dn, name string, from int) (values []string, next int, err error) {
	var e *ldap.Entry
	err = p.c.wire.patient(p.s.cfg.Timeout, func() error {
		e, err = p.c.read(ctx, dn, fmt.Sprintf("%s;range=%d-*", name, from))
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if e == nil {
		return nil, 0, fmt.Errorf("%s went away while its %s was read", dn, name)
	}
	for _, a := range e.Attributes {
		got, next, err := partial(a.Name)
		if err != nil {
			return nil, 0, err
		}
		if strings.EqualFold(got, name) && len(a.Values) > 0 {
			if next != 0 && next <= from {
				return nil, 0, fmt.Errorf("%s: the server gives the same part of %s again", dn, name)
			}
			return a.Values, next, nil
		}
	}
	return nil, 0, fmt.Errorf("%s: the server does not give the rest of %s", dn, name)
}

// partial reads an attribute's description: its name without options, and where its values
// go on if these are some of them only ("proxyAddresses;range=0-1499", as Active Directory has it).
func partial(description string) (name string, next int, err error) {
	name, options, _ := strings.Cut(description, ";")
	for o := range strings.SplitSeq(options, ";") {
		r, is := strings.CutPrefix(strings.ToLower(o), "range=")
		if !is {
			continue
		}
		_, last, _ := strings.Cut(r, "-")
		if last == "*" {
			return name, 0, nil
		}
		n, err := strconv.Atoi(last)
		if err != nil || n < 0 {
			return "", 0, fmt.Errorf("the server gives %q, which is no range", description)
		}
		return name, n + 1, nil
	}
	return name, 0, nil
}

// addressesIn appends the mail addresses among an attribute's values. Exchange writes the kind
// of an address before it; other kinds (x500:, sip:, eum:) are none of mail.
func addressesIn(all []string, attribute string, values []string) []string {
	for _, v := range values {
		v = strings.TrimSpace(v)
		kind, rest, has := book.CutKind(v)
		switch {
		case has && strings.EqualFold(kind, "smtp"):
			v = strings.TrimSpace(rest)
		case has, strings.EqualFold(attribute, "proxyAddresses"):
			continue
		}
		if v != "" {
			all = append(all, v)
		}
	}
	return all
}

// parseTime reads a generalized time as servers write it (RFC 4517, 3.3.13).
func parseTime(s string) (time.Time, error) {
	whole, _, _ := strings.Cut(strings.TrimSuffix(s, "Z"), ".")
	return time.Parse("20060102150405", whole)
}
