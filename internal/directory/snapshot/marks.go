package snapshot

// Bits are what Marks notes of a hash; the lowest four may be used, and none at all means that it was never noted.
type Bits uint8

const allBits = 1<<4 - 1

// Marks notes some bits of each of many hashes, in 22 octets a hash or a little more. It is used by one goroutine.
type Marks struct {
	t *table
}

// NewMarks begins with room for so many hashes. More may come.
func NewMarks(expected int) (*Marks, error) {
	t, err := newTable(marksFor(uint64(max(expected, 0))))
	if err != nil {
		return nil, err
	}
	return &Marks{t}, nil
}

// marksFor: at most three quarters are used, or searches get long.
func marksFor(n uint64) uint64 { return n + n/3 + 64 }

// find returns the slot of the hash, or the empty one in which it belongs. The lowest bits of
// lo are not compared: they are the marks in a slot.
func (m *Marks) find(h Hash) (uint64, Hash) {
	for i := m.t.place(h.hi); ; i++ {
		if i == m.t.places {
			i = 0
		}
		at := slotAt(m.t.mem, i)
		if at.lo&allBits == 0 || at.hi == h.hi && at.lo|allBits == h.lo|allBits {
			return i, at
		}
	}
}

// Get returns the bits of the hash.
func (m *Marks) Get(h Hash) Bits {
	_, at := m.find(h)
	return Bits(at.lo & allBits)
}

// Set gives the hash other bits, one at least.
func (m *Marks) Set(h Hash, bits Bits) error {
	i, at := m.find(h)
	if at.lo&allBits == 0 {
		if marksFor(m.t.n+1) > m.t.places {
			if err := m.grow(); err != nil {
				return err
			}
			i, _ = m.find(h)
		}
		m.t.n++
	}
	m.t.put(i, Hash{h.hi, h.lo&^allBits | uint64(bits&allBits)})
	return nil
}

// grow moves all to a table of twice the size.
func (m *Marks) grow() error {
	to, err := NewMarks(int(2 * m.t.n))
	if err != nil {
		return err
	}
	for i := range m.t.places {
		rest(i)
		if at := slotAt(m.t.mem, i); at.lo&allBits != 0 {
			j, _ := to.find(at)
			to.t.put(j, at)
		}
	}
	to.t.n = m.t.n
	m.t.free()
	m.t = to.t
	return nil
}

// Len is how many hashes were noted.
func (m *Marks) Len() int { return int(m.t.n) }

// Free gives the memory back. Nothing may be asked from then on.
func (m *Marks) Free() { m.t.free() }
