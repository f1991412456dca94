package route

import (
	"fmt"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Domain is one domain that is ours, with the aliases that have the same users.
type Domain struct {
	Name       string   // folded by mail.FoldDomain
	Aliases    []string // folded
	Relay      Relay
	Mode       evidence.Mode // Watch: our own rules refuse nothing here
	ModeSet    bool          // false: the daemon's mode holds, and Mode means nothing
	Subaddress string        // separator of user and tag, "" for none (RFC 5233)
	Recipients []string      // the recipient sources, in the order in which they are asked, as configured
}

// ModeOr is the domain's own mode, or that of the daemon where it has none.
func (d *Domain) ModeOr(daemon evidence.Mode) evidence.Mode {
	if d.ModeSet {
		return d.Mode
	}
	return daemon
}

// Canonical is the address under which the directory knows the mailbox: the
// same local part in the domain's own name. What is handed downstream stays as
// the client gave it.
func (d *Domain) Canonical(a mail.Address) mail.Address {
	if a.Domain() == d.Name {
		return a
	}
	c, err := a.WithDomain(d.Name)
	if err != nil { // the name was folded when the table was made, so this is an address that was none
		return a
	}
	return c
}

// Table finds a domain by name or alias. It is safe for concurrent use.
type Table struct {
	domains []*Domain
	byName  map[string]*Domain
}

// NewTable makes a table. The names must be folded, and each may stand only once
// among all names and aliases. A domain without a relay is one that another server delivers for.
func NewTable(domains []Domain) (*Table, error) {
	t := &Table{byName: make(map[string]*Domain, len(domains))}
	for i := range domains {
		d := domains[i] // a copy: what the caller does to his slice later must not reach us
		t.domains = append(t.domains, &d)
		if err := t.add(d.Name, &d); err != nil {
			return nil, err
		}
		for _, alias := range d.Aliases {
			if err := t.add(alias, &d); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

func (t *Table) add(name string, d *Domain) error {
	folded, err := mail.FoldDomain(name)
	if err != nil {
		return err
	}
	if folded != name {
		return fmt.Errorf("domain %q is not folded: %q is meant", name, folded)
	}
	if other, ok := t.byName[name]; ok {
		if other == d {
			return fmt.Errorf("domain %q is named twice", name)
		}
		return fmt.Errorf("%q belongs to domain %q and to domain %q", name, other.Name, d.Name)
	}
	t.byName[name] = d
	return nil
}

// Find returns the domain of a folded name or alias, nil where it is not ours. It does not allocate.
func (t *Table) Find(folded string) *Domain { return t.byName[folded] }

// Domains returns the domains in the order of the configuration. The slice is not to be changed.
func (t *Table) Domains() []*Domain { return t.domains }
