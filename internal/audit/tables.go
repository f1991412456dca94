package audit

import (
	"math"
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf8"
)

// names are strings with numbers, as many as there is room for.
type names struct {
	by   map[string]uint32
	all  []string
	most int
}

// others is the number of all that found no room.
const others = 1

func newNames(most int) names {
	return names{by: map[string]uint32{}, all: []string{"", ""}, most: most}
}

// longestName is what the name of a domain may have (RFC 1035, 2.3.4), and of a host with its address about the same.
const longestName = 255

// number returns that of a name, which is not kept; 0 for the empty one. What is kept can be printed: strangers write into logs.
func (n *names) number(name []byte) uint32 {
	if len(name) == 0 {
		return 0
	}
	if len(name) > longestName {
		return others
	}
	if !plain(name) {
		name = []byte(clean(string(name)))
	}
	if i, ok := n.by[string(name)]; ok {
		return i
	}
	if len(n.all) >= n.most {
		return others
	}
	i := uint32(len(n.all))
	s := string(name)
	n.by[s] = i
	n.all = append(n.all, s)
	return i
}

// plain says that all are printing characters of ASCII.
func plain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// clean keeps what strangers wrote into a log from moving the cursor, or from hiding what it is.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, s)
}

// strangers counts addresses that differ: one by one, and when those are too many by an estimate.
type strangers struct {
	seen map[uint64]uint32 // hash of the address to its domain
	most int
	// A register holds the longest run of zeros among the hashes that fall to it (HyperLogLog).
	registers []uint8
}

const registerBits = 14

func newStrangers(most int) strangers {
	return strangers{seen: map[uint64]uint32{}, most: most}
}

func (s *strangers) add(h uint64, domain uint32) {
	h = mix(h)
	if s.registers == nil {
		if _, ok := s.seen[h]; ok || len(s.seen) < s.most {
			s.seen[h] = domain
			return
		}
		s.registers = make([]uint8, 1<<registerBits)
		for old := range s.seen {
			s.estimate(old)
		}
	}
	s.estimate(h)
}

func (s *strangers) estimate(h uint64) {
	i := h >> (64 - registerBits)
	run := uint8(bits.LeadingZeros64(h<<registerBits|1<<(registerBits-1)) + 1)
	s.registers[i] = max(s.registers[i], run)
}

// count says how many there are outside our own domains, and whether that is an estimate.
func (s *strangers) count(own func(domain uint32) bool) (n int, about bool) {
	ours := 0
	for _, d := range s.seen {
		if own(d) {
			ours++
		} else {
			n++
		}
	}
	if s.registers == nil {
		return n, false
	}
	m, sum := float64(len(s.registers)), 0.0
	for _, r := range s.registers {
		sum += math.Pow(2, -float64(r))
	}
	all := 0.7213 / (1 + 1.079/m) * m * m / sum
	return int(all * float64(n) / float64(n+ours)), true
}

// mix spreads the bits of a hash.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// recent is a map of the newest entries.
type recent[V any] struct {
	by   map[uint64]V
	ring []uint64
	next int
}

func newRecent[V any](most int) recent[V] {
	return recent[V]{by: map[uint64]V{}, ring: make([]uint64, most)}
}

// put keeps an entry, and returns the one that had to go for it.
func (r *recent[V]) put(key uint64, v V) (old V, dropped bool) {
	if _, ok := r.by[key]; !ok {
		oldest := r.ring[r.next]
		if old, dropped = r.by[oldest]; dropped {
			delete(r.by, oldest)
		}
		r.ring[r.next] = key
		r.next = (r.next + 1) % len(r.ring)
	}
	r.by[key] = v
	return old, dropped
}

func (r *recent[V]) get(key uint64) (V, bool) {
	v, ok := r.by[key]
	return v, ok
}
