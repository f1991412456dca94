package ldapdir

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// A pull turns a filter round: in place of asking who has an address it asks who has any, and
// takes all that he has in the attributes that are compared with {address}. That is the same only
// where whoever is found has each of these addresses by the filter, too. Hence the rules below.

// turnable is the form in which a filter can always be written that can be turned round.
const turnable = "write the conditions around the addresses, as in (&(objectClass=person)(|(mail={address})(alias={address})))"

// CanPull says why the recipients of a filter cannot be pulled, if so: from {user} and {domain}
// nobody can tell what the addresses are, and some filters say of an address more than
// that somebody has it.
func CanPull(filter string) error {
	t, err := parseTemplate(filter)
	if err != nil {
		return err
	}
	return t.canPull()
}

func (t *template) canPull() error {
	for _, p := range [...]string{forUser, forDomain} {
		if strings.Contains(t.text, p) {
			return fmt.Errorf("a filter with %s cannot be pulled, only asked: write it with {address}, or as a condition without any of them", p)
		}
	}
	p, err := ldap.CompileFilter(strings.ReplaceAll(t.text, forAddress, mark))
	if err != nil { // parseTemplate has compiled it
		return err
	}
	_, err = turn(p)
	if err != nil {
		return fmt.Errorf("a filter cannot be pulled, only asked, in which %w", err)
	}
	return nil
}

// meant is what a part of a filter says of the address.
type meant struct {
	attributes []string // of which one must have it; nil: it says nothing of it
	more       bool     // and something else must hold
}

// turn says what a compiled filter (RFC 4511, 4.5.1) says of the address, or why it cannot be turned round.
func turn(p *ber.Packet) (meant, error) {
	switch p.Tag {
	case ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot:
	default:
		return turnItem(p)
	}
	var parts []meant
	for _, c := range p.Children {
		m, err := turn(c)
		if err != nil {
			return meant{}, err
		}
		parts = append(parts, m)
	}
	switch p.Tag {
	case ldap.FilterAnd:
		return turnAnd(parts)
	case ldap.FilterOr:
		return turnOr(parts)
	}
	if slices.ContainsFunc(parts, meant.ofAddress) {
		return meant{}, errors.New(`{address} stands behind a "!": who does not have an address cannot be listed; ` + turnable)
	}
	return meant{}, nil
}

func (m meant) ofAddress() bool { return m.attributes != nil }

// turnAnd: conditions, and one part that says who has the address.
func turnAnd(parts []meant) (meant, error) {
	var all meant
	for _, m := range parts {
		switch {
		case m.ofAddress() && all.ofAddress():
			return meant{}, errors.New(`two parts of an "&" have {address}: who has one address in both places cannot be listed; ` + turnable)
		case m.ofAddress():
			all.attributes = m.attributes
		}
	}
	all.more = all.ofAddress() && (len(parts) > 1 || slices.ContainsFunc(parts, func(m meant) bool { return m.more }))
	return all, nil
}

// turnOr: each part says who has the address, and conditions are of the same attributes. Of
// (|(mail={address})(&(active=yes)(alias={address}))) somebody with a mail is found, active or not, and
// his alias would be taken with it.
func turnOr(parts []meant) (meant, error) {
	var all meant
	says, same := 0, true
	for _, m := range parts {
		if !m.ofAddress() {
			continue
		}
		says++
		slices.Sort(m.attributes)
		if all.ofAddress() && !slices.Equal(all.attributes, m.attributes) {
			same = false
		}
		all.more = all.more || m.more
		all.attributes = slices.Compact(slices.Sorted(slices.Values(append(all.attributes, m.attributes...))))
	}
	switch {
	case says > 0 && says < len(parts):
		return meant{}, errors.New(`a part of an "|" has no {address}: whom it finds has every address, and they cannot be listed; ` + turnable)
	case all.more && !same:
		return meant{}, errors.New(`the parts of an "|" have conditions for some of the attributes with {address} only; ` + turnable)
	}
	return all, nil
}

// turnItem: the address must be the value, or stand behind the kind of it that Exchange writes.
func turnItem(p *ber.Packet) (meant, error) {
	var m meant
	err := eachItem(p, func(attribute string, values []string) error {
		if !slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, mark) }) {
			return nil
		}
		kind, _ := strings.CutSuffix(values[0], mark)
		switch {
		case p.Tag != ldap.FilterEqualityMatch:
			return errors.New(`{address} is compared by something else than "=", or is a part of the value; ` + turnable)
		case kind != "" && !strings.EqualFold(kind, "smtp:"):
			return errors.New("{address} is a part of the value: {address} and smtp:{address} alone can be turned into what the address is; " + turnable)
		case strings.Contains(attribute, ";") || '0' <= attribute[0] && attribute[0] <= '9':
			return fmt.Errorf("%q is compared with {address}: write the attribute's name, which is what the server calls it", attribute)
		}
		m.attributes = []string{strings.ToLower(attribute)}
		return nil
	})
	return m, err
}
