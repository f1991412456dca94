package directory

import (
	"context"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Source is somebody who may know who exists.
type Source interface {
	// Name is the source as the configuration names it ("list:/etc/…", "corp").
	// Answers are remembered under it, and under Member.Question, so two sources that may differ need
	// another name or question.
	Name() string
	// Lookup asks for one address, whose domain is the domain's canonical name.
	// It returns when it knows or ctx ends, and has no error: what went wrong is an
	// Unavailable whose Detail says so. It is called from many goroutines.
	Lookup(ctx context.Context, addr mail.Address) Answer
}

// Answer is what one source says.
type Answer struct {
	// Standing is Exists, Missing or Unavailable; NotAsked means that this source
	// does not name the address, and leaves the word to the next one.
	Standing evidence.Standing
	// Age is how old the source's own knowledge is (a snapshot); 0 is now.
	Age time.Duration
	// Detail is for the operator: the source's own words, or what went wrong.
	Detail string
	// Cacheable says that a definite answer may be remembered.
	Cacheable bool
	// Blind says that the source says yes to anybody, so its yes proves nothing.
	Blind bool
}

// Known is a source that answers from memory: without I/O, without waiting,
// without allocating. Its answers are never cached.
type Known interface {
	Source
	// Known is Lookup for an address's key (mail.Address.Key).
	Known(key string) evidence.Standing
}

// Ruled is a Known whose answers may have more to them than a standing.
type Ruled interface {
	Known
	// Rule is Known with all that there is to say.
	Rule(key string) Ruling
}

// Ruling is what a Ruled source says. The zero Ruling says nothing.
type Ruling struct {
	Standing evidence.Standing
	// Reply is the operator's own: permanent with Missing, temporary with Unavailable.
	// A temporary one is his last word, other than a source that cannot be asked.
	Reply mail.Reply
	// Detail is for the operator: what was found.
	Detail string
	// Exact says that this very address is named. Then nothing is asked about it without its
	// subaddress.
	Exact bool
	// Made is when the source last heard what it says, where it answers from a copy; zero: now.
	Made time.Time
	// Blind says that it is a yes to anybody in the domain. It holds only when no source behind
	// this one knows better.
	Blind bool
}

// Judge is a source that finds out whether its own yes is worth anything.
type Judge interface {
	Source
	// Blind says whether the source says yes to anybody in this domain, and whether
	// that was ever found out. It returns at once; where the finding is missing or
	// old, a test begins in the background. While it is found blind, Lookup answers at
	// once too, without asking: Exists and Blind, or Unavailable if the operator wants that.
	Blind(domain string) (blind, known bool)
}

// Member is one source's place in a chain.
type Member struct {
	Source Source
	// Relay says that this source is the domain's own relay, so that a caller who
	// delivers asks it anyway, with the RCPT of the transaction.
	Relay bool
	// Lives overrides the directory's lives, field by field; zero fields do not.
	Lives Lives
	// Next says that this source's "missing" leaves the word to the source behind it, as the
	// silence of a list does.
	Next bool
	// Question tells what the source is asked: with another server, filter or query it is another
	// question, and an answer to the one is not remembered for the other. "" where the source's name
	// says it all.
	Question string
}

// Chain is the sources of one domain in the order in which they are asked. It
// is immutable.
type Chain struct {
	name  string
	links []link
}

// link is a Member with its optional sides found once.
type link struct {
	source Source
	name   string
	key    string // under which answers are remembered
	known  Known  // nil: must be asked
	ruled  Ruled  // nil: says no more than known
	judge  Judge  // nil: takes its own yes for proof
	blind  bool   // it is Anybody, whose yes proves nothing
	relay  bool
	next   bool // its "missing" is not the last word
	lives  Lives
}

// questionMark parts a source's name from its question. A name that has a question has no space.
const questionMark = " ?"

// keyOf is what answers are remembered under.
func keyOf(name, question string) string {
	if question == "" {
		return name
	}
	return name + questionMark + question
}

// NewChain makes the chain of one domain; name is the domain's canonical name.
// A chain without members answers Unavailable.
func NewChain(name string, members ...Member) *Chain {
	c := &Chain{name: name, links: make([]link, len(members))}
	for i, m := range members {
		l := link{source: m.Source, name: m.Source.Name(), relay: m.Relay, next: m.Next, lives: m.Lives}
		l.key = keyOf(l.name, m.Question)
		l.known, _ = m.Source.(Known)
		l.ruled, _ = m.Source.(Ruled)
		l.judge, _ = m.Source.(Judge)
		_, l.blind = m.Source.(Anybody)
		c.links[i] = l
	}
	return c
}

// Name is the domain whose chain this is.
func (c *Chain) Name() string { return c.name }

// Sources are the chain's sources, in order.
func (c *Chain) Sources() []Source {
	s := make([]Source, len(c.links))
	for i := range c.links {
		s[i] = c.links[i].source
	}
	return s
}
