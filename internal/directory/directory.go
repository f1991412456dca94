package directory

import (
	"log/slog"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

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
	Took     time.Duration
}

// DomainStat is what is remembered of one domain.
type DomainStat struct {
	Domain  string
	Exists  int
	Missing int
	Oldest  time.Time
	Newest  time.Time
}
