package synced

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"backstop/internal/directory/snapshot"
)

// A domain loses too much when it loses more than one part in tooMuch.
const tooMuch = 5

// counts says how many addresses each domain has.
type counts struct {
	byName map[string]uint64
	others uint64 // in domains that are not counted by name
}

func countsOf(byName []snapshot.Domain, others uint64) counts {
	c := counts{map[string]uint64{}, others}
	for _, d := range byName {
		c.byName[d.Name] = d.Entries
	}
	return c
}

func (c *counts) total() int {
	n := c.others
	for _, k := range c.byName {
		n += k
	}
	return int(n)
}

// countUnused counts the copy that is kept and cannot be used, since it is of other settings or damaged.
// What was a name then may be an alias now.
func (s *Source) countUnused() counts {
	byName, others, err := snapshot.Domains(s.files.snapshot)
	if err != nil {
		return counts{}
	}
	return s.counted(byName, others)
}

// counted is countsOf under the names that domains have now.
func (s *Source) counted(byName []snapshot.Domain, others uint64) counts {
	c := counts{map[string]uint64{}, others}
	for _, d := range byName {
		name := d.Name
		if name != "" {
			name = s.cfg.Canonical(name)
		}
		c.byName[name] = max(c.byName[name], d.Entries) // the same people, as a rule
	}
	return c
}

// domains are the names that go first in a new copy, so that those that were counted by name still are.
func (s *Source) domains(old *snapshot.Set) []string {
	if old == nil {
		return slices.Sorted(maps.Keys(s.base.unused.byName))
	}
	byName, _ := old.Domains()
	names := make([]string, len(byName))
	for i, d := range byName {
		names[i] = d.Name
	}
	return names
}

// guard says what the new set would lose of the old one, or, where there is none, of the copy
// that cannot be used; nil: nothing to speak of. kept are the addresses by domain that both have.
func (s *Source) guard(old, set *snapshot.Set, kept map[string]uint64, keptOthers uint64) *Held {
	now, before := countsOf(set.Domains()), s.base.unused
	if old != nil {
		before = countsOf(old.Domains())
	} else {
		kept, keptOthers = now.byName, now.others // which addresses they were nobody knows
	}
	h := &Held{Before: before.total(), After: set.Len()}
	for name, n := range before.byName {
		h.weigh(name, n, now.byName[name], kept[name])
	}
	h.weigh(Elsewhere, before.others, now.others, keptOthers)
	if len(h.Domains) > 0 && s.base.objects {
		h.spareSingle(s, set)
	}
	switch {
	case len(h.Domains) > 0:
	case old == nil && set.Len() == 0:
		return h // it found nobody
	default:
		return nil
	}
	slices.SortFunc(h.Domains, func(a, b Loss) int { return cmp.Or(b.Lost-a.Lost, strings.Compare(a.Domain, b.Domain)) })
	return h
}

// weigh notes a domain that loses too much.
func (h *Held) weigh(domain string, before, after, kept uint64) {
	if lost := before - min(before, kept); lost > 1 && lost*tooMuch > before {
		h.Domains = append(h.Domains, Loss{Domain: domain, Before: int(before), After: int(after), Lost: int(lost)})
	}
}

// spareSingle strikes out each domain all of whose lost addresses belonged to one recipient.
func (h *Held) spareSingle(s *Source, set *snapshot.Set) {
	loser := map[string]snapshot.Hash{} // the first object of a domain that loses an address
	many := map[string]bool{}
	for _, l := range h.Domains {
		loser[l.Domain] = snapshot.Hash{}
	}
	err := s.files.readObjects(&s.base, func(r record, domain string) error {
		if r.domain == elsewhere {
			domain = Elsewhere
		}
		first, asked := loser[domain]
		switch {
		case !asked || many[domain] || first == r.object || set.HasHash(r.address):
		case first == snapshot.Hash{}:
			loser[domain] = r.object
		default:
			many[domain] = true
		}
		return nil
	})
	if err != nil {
		return // whoever cannot tell does not spare
	}
	left := h.Domains[:0]
	for _, l := range h.Domains {
		if many[l.Domain] {
			left = append(left, l)
		}
	}
	h.Domains = left
}

// worse says whether more would be lost than what somebody confirmed who saw shown: another
// domain, or a fifth more of one.
func (h *Held) worse(shown *Held) bool {
	seen := map[string]int{}
	for _, l := range shown.Domains {
		seen[l.Domain] = l.Lost
	}
	for _, l := range h.Domains {
		lost, was := seen[l.Domain]
		if !was || (l.Lost-lost)*tooMuch > l.Before {
			return true
		}
	}
	return false
}

// maxNamed is how many domains a line of the log names.
const maxNamed = 5

func (h *Held) String() string {
	if len(h.Domains) == 0 {
		return "it found nobody"
	}
	var b strings.Builder
	for i, l := range h.Domains {
		if i == maxNamed {
			fmt.Fprintf(&b, ", and %d domains more", len(h.Domains)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s loses %d of %d", l.Domain, l.Lost, l.Before)
	}
	return b.String()
}
