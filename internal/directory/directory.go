package directory

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Never is a life for answers that are asked for each time. What is remembered of them
// serves only while the source cannot be asked.
const Never time.Duration = 1

// Lives is how long answers are used. Zero fields mean the default.
type Lives struct {
	ExistsFor  time.Duration // an answer "exists" is fresh; 24 h
	Refresh    time.Duration // before its end a use of it asks again in the background; a quarter of ExistsFor
	MaxStale   time.Duration // "exists" is used while the source cannot be asked, counted from when it was given; 7 days
	MissingFor time.Duration // the first "missing" is fresh; 2 min
	MissingMax time.Duration // what a repeated "missing" grows to, and how long beyond its life it is used while the source cannot be asked; 2 h
}

// Config is what a Directory is made from. All fields may be zero.
type Config struct {
	Lives Lives
	// Chains are the lives of chains that have their own: an answer is kept as long as anybody
	// can use it. See Keep.
	Chains []Lives
	// Size is how many answers are remembered at most; 1,000,000.
	Size int
	// Timeout bounds one question to one source, however long its caller would wait; 60 s.
	Timeout time.Duration
	// Now is the clock; time.Now.
	Now func() time.Time
	// Store keeps answers over a restart; nil keeps nothing.
	Store Store
	// Logger is told when the store fails or a source panics; nil: nobody.
	Logger *slog.Logger
	// OnAnswer is told of each question that a source was really asked.
	OnAnswer func(source string, s evidence.Standing, took time.Duration)
}

// Query is one question.
type Query struct {
	// Address has the domain's canonical name as its domain.
	Address mail.Address
	// Subaddress is the separator of subaddresses ("+"), or "".
	Subaddress string
	// CutThrough says that the caller will ask the domain's relay itself, at RCPT.
	CutThrough bool
	// NoAsk answers from memory and lists alone. What would have to be asked counts as
	// a source that cannot be asked, so that stale answers are used.
	NoAsk bool
	// At is the moment for which is asked, zero for now. Answers to a question about
	// another moment are not remembered.
	At time.Time
}

// Finding is what one source of a chain said to one question.
type Finding struct {
	Source   string
	Address  string // the address that was asked: the one of the query, or it without its subaddress
	Standing evidence.Standing
	Age      time.Duration
	Stale    bool
	Blind    bool
	Cached   bool
	Detail   string
	Reply    mail.Reply // the operator's own for this recipient; none: the usual one
	Took     time.Duration

	exact bool // the source names this very address
}

// DomainStat is what is remembered of one domain.
type DomainStat struct {
	Domain  string
	Exists  int
	Missing int
	Oldest  time.Time
	Newest  time.Time
}

// Directory knows who exists. Its methods are called from many goroutines.
type Directory struct {
	cfg        Config
	cache      *cache
	background context.Context // ends with Close
	end        context.CancelFunc
	refreshing chan struct{}  // holds one for each background question
	running    sync.WaitGroup // questions and the writer
	write      writer
	longest    atomic.Pointer[Lives] // how long answers are of use to any chain

	mu      sync.Mutex
	flights map[flightKey]*flight
	epoch   int // counts Forget
	closed  bool
}

// Defaults of Config and Lives.
const (
	defaultSize    = 1_000_000
	defaultTimeout = time.Minute
	maxRefreshing  = 64
)

// New makes a directory and reads what its store kept, the newest first; what takes
// longer than a second is read in the background. A store that cannot be read is
// reported to the logger and costs questions, nothing else.
func New(cfg Config) *Directory {
	cfg.Lives = cfg.Lives.or(&Lives{
		ExistsFor: 24 * time.Hour, Refresh: 6 * time.Hour, MaxStale: 7 * 24 * time.Hour,
		MissingFor: 2 * time.Minute, MissingMax: 2 * time.Hour,
	})
	if cfg.Size <= 0 {
		cfg.Size = defaultSize
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Directory{
		cfg:        cfg,
		cache:      newCache(cfg.Size),
		refreshing: make(chan struct{}, maxRefreshing),
		flights:    make(map[flightKey]*flight),
	}
	d.Keep(cfg.Chains)
	d.background, d.end = context.WithCancel(context.Background())
	if cfg.Store != nil {
		d.startLoad()
		d.startWriter()
	}
	return d
}

// Keep says anew which lives chains have (Config.Chains).
func (d *Directory) Keep(chains []Lives) {
	longest := d.cfg.Lives
	for _, l := range chains {
		l = l.or(&d.cfg.Lives)
		longest.ExistsFor = max(longest.ExistsFor, l.ExistsFor)
		longest.MaxStale = max(longest.MaxStale, l.MaxStale)
		longest.MissingMax = max(longest.MissingMax, l.MissingMax)
	}
	d.longest.Store(&longest)
}

func (d *Directory) now() time.Time { return d.cfg.Now() }

// Close ends the questions that are under way, and writes to the store what is not
// there yet; it returns the store's error. Lookups after it answer from memory alone.
func (d *Directory) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.end()
	d.running.Wait()
	return d.flush(context.Background())
}

// Forget drops remembered answers, here and in the store, and says how many were
// remembered here. The error is the store's; what it still holds then comes
// back with the next start.
func (d *Directory) Forget(ctx context.Context, p Pattern) (int, error) {
	d.mu.Lock()
	d.epoch++
	d.mu.Unlock()
	err := d.forgetStored(ctx, p) // first: it waits for a start that still reads the store
	return d.cache.drop(func(e *entry) bool { return p.Match(e.addr) }), err
}

// Counts says how many answers of each kind are remembered.
func (d *Directory) Counts() (exists, missing int) {
	return int(d.cache.exists.Load()), int(d.cache.missing.Load())
}

// Stat says what is remembered, by domain, sorted by name.
func (d *Directory) Stat() []DomainStat {
	by := make(map[string]*DomainStat)
	d.cache.all(func(e *entry) {
		name := domainOf(e.addr)
		s := by[name]
		if s == nil {
			s = &DomainStat{Domain: strings.Clone(name)}
			by[s.Domain] = s
		}
		if e.standing == evidence.Exists {
			s.Exists++
		} else {
			s.Missing++
		}
		at := time.Unix(0, e.at)
		if s.Oldest.IsZero() || at.Before(s.Oldest) {
			s.Oldest = at
		}
		if at.After(s.Newest) {
			s.Newest = at
		}
	})
	stats := make([]DomainStat, 0, len(by))
	for _, s := range by {
		stats = append(stats, *s)
	}
	slices.SortFunc(stats, func(a, b DomainStat) int { return strings.Compare(a.Domain, b.Domain) })
	return stats
}
