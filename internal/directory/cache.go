package directory

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"backstop/internal/evidence"
)

// cache holds the remembered answers. A reader takes no lock and writes to no
// memory that another reader uses, so readers do not slow each other down; writers
// lock one shard. Measured on two cores, nanoseconds a read with one and with two
// processors reading (BenchmarkCache…): this 39 and 23, a map in 64 parts under
// RWMutex 38 and 41, otter/v2 61 and 67.
//
// Each shard is a hash table with open addressing. A slot, once it holds an
// entry, is never empty again in that table: a removed entry leaves a gravestone,
// and too many of them make a new table. So a reader that walks a table while it
// is written to finds every entry that was there when it began.
type cache struct {
	seed    maphash.Seed
	shards  []shard
	shift   uint // hash >> shift is the shard
	exists  atomic.Int64
	missing atomic.Int64
}

type shard struct {
	table atomic.Pointer[table]
	mu    sync.Mutex
	live  int // entries
	taken int // entries and gravestones
	max   int // entries allowed
	_     [24]byte
}

type table struct {
	mask  uint64
	slots []atomic.Pointer[entry]
}

// entry is one remembered answer. Only its two atomics change after it was stored.
type entry struct {
	hash      uint64
	source    string
	addr      string
	detail    string
	at        int64        // Unix nanoseconds
	life      int64        // missing only, nanoseconds
	refreshAt atomic.Int64 // no background question before this, Unix nanoseconds
	standing  evidence.Standing
	used      atomic.Bool // since an eviction last looked at it
}

// gravestone marks a slot whose entry was removed. It is never written to.
var gravestone = &entry{}

const (
	shardBits    = 6
	firstTable   = 16
	smallCache   = 4096 // below this one shard keeps the bound exact
	evictionLook = 8    // entries that an eviction chooses among
)

func newCache(size int) *cache {
	n, shift := 1<<shardBits, uint(64-shardBits)
	if size < smallCache {
		n, shift = 1, 64
	}
	c := &cache{seed: maphash.MakeSeed(), shards: make([]shard, n), shift: shift}
	for i := range c.shards {
		c.shards[i].max = (size + n - 1) / n
		c.shards[i].table.Store(newTable(firstTable))
	}
	return c
}

func newTable(n int) *table {
	return &table{mask: uint64(n - 1), slots: make([]atomic.Pointer[entry], n)}
}

func (c *cache) hash(source, addr string) uint64 {
	// The multiplication keeps (a, b) and (b, a) apart.
	return maphash.String(c.seed, addr) + 0x9e3779b97f4a7c15*maphash.String(c.seed, source)
}

func (c *cache) shard(hash uint64) *shard { return &c.shards[hash>>c.shift] }

// get returns what is remembered, or nil.
func (c *cache) get(source, addr string) *entry {
	h := c.hash(source, addr)
	e, _ := c.shard(h).table.Load().find(h, source, addr)
	if e != nil && !e.used.Load() {
		e.used.Store(true)
	}
	return e
}

// find returns the entry and its slot, or nil and the slot of the first gravestone or hole.
func (t *table) find(hash uint64, source, addr string) (*entry, uint64) {
	free := ^uint64(0)
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		e := t.slots[i].Load()
		switch {
		case e == nil:
			if free != ^uint64(0) {
				i = free
			}
			return nil, i
		case e == gravestone:
			if free == ^uint64(0) {
				free = i
			}
		case e.hash == hash && e.addr == addr && e.source == source:
			return e, i
		}
	}
}

// update stores what f makes of the old entry (nil: none); f returning nil leaves
// things as they are. It reports what is stored now.
func (c *cache) update(source, addr string, f func(old *entry) *entry) *entry {
	h := c.hash(source, addr)
	s := c.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, _ := s.table.Load().find(h, source, addr)
	e := f(old)
	if e == nil {
		return old
	}
	e.hash = h
	if old == nil {
		c.makeRoom(s)
	}
	t := s.table.Load()
	_, i := t.find(h, source, addr)
	was := t.slots[i].Swap(e)
	switch {
	case was == nil:
		s.taken++
		s.live++
	case was == gravestone:
		s.live++
	default:
		c.count(was.standing, -1)
	}
	c.count(e.standing, 1)
	return e
}

// makeRoom leaves the shard with room for one entry more.
func (c *cache) makeRoom(s *shard) {
	if s.live >= s.max {
		c.evict(s)
	}
	t := s.table.Load()
	if (s.taken+1)*4 <= len(t.slots)*3 {
		return
	}
	n := firstTable
	for (s.live+1)*2 > n {
		n *= 2
	}
	fresh := newTable(n)
	for i := range t.slots {
		e := t.slots[i].Load()
		if e == nil || e == gravestone {
			continue
		}
		j := e.hash & fresh.mask
		for fresh.slots[j].Load() != nil {
			j = (j + 1) & fresh.mask
		}
		fresh.slots[j].Store(e)
	}
	s.taken = s.live
	s.table.Store(fresh)
}

// evict drops one entry: of a few that are drawn the one that would be missed least. A
// flood of unknown recipients must not push out the known ones. Each draw is
// independent and hits every entry alike: with neighbours, or with the next entry
// after a hole, the known ones came to be drawn more and more often.
func (c *cache) evict(s *shard) {
	t := s.table.Load()
	worst, at := (*entry)(nil), uint64(0)
	for seen := 0; seen < evictionLook; { // ends: the shard is full, so a quarter of its slots at least
		i := rand.Uint64() & t.mask
		e := t.slots[i].Load()
		if e == nil || e == gravestone {
			continue
		}
		seen++
		if worst == nil || e.lessWorth(worst) {
			e, worst, at = worst, e, i
		}
		if e != nil && e != worst {
			e.used.Store(false)
		}
	}
	c.remove(s, t, at, worst)
}

// lessWorth orders entries for eviction: missing before exists, unused before used, old before young.
func (e *entry) lessWorth(o *entry) bool {
	if e.standing != o.standing {
		return e.standing == evidence.Missing
	}
	if u, ou := e.used.Load(), o.used.Load(); u != ou {
		return !u
	}
	return e.at < o.at
}

func (c *cache) remove(s *shard, t *table, i uint64, e *entry) {
	t.slots[i].Store(gravestone)
	s.live--
	c.count(e.standing, -1)
}

func (c *cache) count(st evidence.Standing, n int64) {
	if st == evidence.Exists {
		c.exists.Add(n)
	} else {
		c.missing.Add(n)
	}
}

// drop removes the entries that match and says how many.
func (c *cache) drop(match func(*entry) bool) int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		t := s.table.Load()
		for j := range t.slots {
			if e := t.slots[j].Load(); e != nil && e != gravestone && match(e) {
				c.remove(s, t, uint64(j), e)
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}

// all calls f for each entry, in no order.
func (c *cache) all(f func(*entry)) {
	for i := range c.shards {
		t := c.shards[i].table.Load()
		for j := range t.slots {
			if e := t.slots[j].Load(); e != nil && e != gravestone {
				f(e)
			}
		}
	}
}

func (e *entry) age(now int64) time.Duration { return time.Duration(max(0, now-e.at)) }

// freshMissing says whether a "missing" may be used without asking again.
func (e *entry) freshMissing(now int64) bool { return e.age(now) < time.Duration(e.life) }

// fresh says the same of any answer.
func (e *entry) fresh(now int64, l *Lives) bool {
	if e.standing == evidence.Missing {
		return e.freshMissing(now)
	}
	return e.age(now) < l.ExistsFor
}

// stale says whether the answer may still be used while the source cannot be asked.
func (e *entry) stale(now int64, l *Lives) bool {
	if e.standing == evidence.Missing {
		return e.age(now) < time.Duration(e.life)+l.MissingMax
	}
	return e.age(now) < l.MaxStale
}
