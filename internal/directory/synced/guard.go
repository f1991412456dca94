package synced

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"backstop/internal/directory/snapshot"
)

// A domain loses too much when it loses more than one part in tooMuch.
const tooMuch = 5

// guard says what the new set would lose of the old one; nil: nothing to speak of. kept are the
// addresses by domain that both have.
func (s *Source) guard(old, set *snapshot.Set, kept map[string]uint64, keptOthers uint64) *Held {
	if old == nil {
		if set.Len() == 0 {
			return &Held{}
		}
		return nil
	}
	h := &Held{Before: old.Len(), After: set.Len()}
	before, others := old.Domains()
	after, othersAfter := set.Domains()
	now := map[string]uint64{}
	for _, d := range after {
		now[d.Name] = d.Entries
	}
	for _, d := range before {
		h.weigh(d.Name, d.Entries, now[d.Name], kept[d.Name])
	}
	h.weigh(Elsewhere, others, othersAfter, keptOthers)
	if len(h.Domains) > 0 && s.base.objects {
		h.spareSingle(s, set)
	}
	if len(h.Domains) == 0 {
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
