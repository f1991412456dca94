package daemon

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"backstop/internal/directory/access"
	"backstop/internal/directory/list"
	"backstop/internal/directory/snapshot"
	"backstop/internal/directory/synced"
)

// DomainStat is what is known of one domain's recipients without asking anybody.
type DomainStat struct {
	Domain  string    `json:"domain"`
	Exists  int       `json:"exists"`  // answers remembered
	Missing int       `json:"missing"` // answers remembered
	Oldest  time.Time `json:"oldest,omitzero"`
	Newest  time.Time `json:"newest,omitzero"`
	// Listed are the sources that have their recipients at hand: files, and what was pulled.
	Listed []ListedStat `json:"listed,omitempty"`
}

// ListedStat is how many recipients a listed source has for one domain.
type ListedStat struct {
	Source  string `json:"source"`
	Entries int    `json:"entries"`
	// Whole says that the entries were not counted by domain: these are all that the source has.
	Whole bool      `json:"whole,omitempty"`
	Read  time.Time `json:"read,omitzero"`
}

// counted is a source that counts its entries by domain; those under "" are local parts alone.
type counted interface {
	Domains() (byName []snapshot.Domain, others uint64)
}

// Stat says what is remembered and listed, by domain, sorted by name.
func (d *Daemon) Stat() []DomainStat {
	by := map[string]*DomainStat{}
	at := func(name string) *DomainStat {
		if by[name] == nil {
			by[name] = &DomainStat{Domain: name}
		}
		return by[name]
	}
	for _, r := range d.directory.Stat() {
		s := at(r.Domain)
		s.Exists, s.Missing, s.Oldest, s.Newest = r.Exists, r.Missing, r.Oldest, r.Newest
	}
	now := d.current.Load()
	counts := map[any]map[string]int{} // a source may have many domains, and many domains the same
	for r, domain := range now.domains {
		for _, src := range domain.Chain.Sources() {
			l := ListedStat{Source: src.Name()}
			switch f := src.(type) {
			case counted:
				if counts[src] == nil {
					counts[src] = countsOf(f)
				}
				l.Entries = counts[src][r.Name] + counts[src][""]
			case *access.Source:
				l.Entries, l.Whole, l.Read = f.State().Entries, true, f.State().Read
			default:
				continue
			}
			switch f := src.(type) {
			case *list.List:
				l.Read = f.State().Read
			case *synced.Source:
				l.Read = f.State().Made
			}
			s := at(r.Name)
			s.Listed = append(s.Listed, l)
		}
	}
	stats := make([]DomainStat, 0, len(by))
	for _, s := range by {
		stats = append(stats, *s)
	}
	slices.SortFunc(stats, func(a, b DomainStat) int { return strings.Compare(a.Domain, b.Domain) })
	return stats
}

func countsOf(c counted) map[string]int {
	domains, _ := c.Domains()
	n := make(map[string]int, len(domains))
	for _, d := range domains {
		n[d.Name] = int(d.Entries)
	}
	return n
}

func (d *Daemon) serveStat(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, d.Stat())
}
