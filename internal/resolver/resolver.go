// Package resolver asks the DNS for what mail needs: TXT, MX, addresses and names of addresses. It
// is a stub: it asks recursive servers, those of /etc/resolv.conf unless told otherwise.
//
// Answers are kept as long as their records say, but at least 5 s, so that what one message asks for
// twice is asked once; at most an hour, so that an operator who mends a record need not wait for a
// TTL of a day (the server asked keeps it that long anyway, and is near); at most 5 minutes if
// there is nothing, because a missing record is the one that somebody is about to publish. That nothing could be found
// out is kept for 5 s (RFC 9520, 3.2). One question is asked once, however many wait for its answer.
//
// Every error is a *net.DNSError, not wrapped: IsNotFound where the DNS says that there is
// nothing, and where the name cannot be one; IsTemporary for all the rest. There is no third kind:
// what could not be found out is never taken for a no.
//
// An answer counts if it comes from the address that was asked, to the port, with the id and with the
// question in the letters, capital or small, that were sent (RFC 5452, 9). What does not is passed over: the
// right one may follow.
//
// Strangers choose the names, and whoever lets his name servers be silent could take all room there is. So a
// question has one time for everything, and ends sooner when nobody waits for it, or when others wait for a place; below
// one registered domain only some are under way at once, the fewer the less room is left, and the others fail at once.
//
// A server that fails is asked last for half a minute. A name whose own servers are silent lets any
// resolver look dead, and strangers choose the names: so before the DNS is called away, the servers are asked
// for the root, which each of them has at hand. While it is away questions fail at once, but for one now and then.
//
// # Limits
//
// DNSSEC is left to the server asked. There is no search list, no /etc/hosts, no mDNS; of /etc/resolv.conf the
// nameserver lines count and nothing else. Names are ASCII: U-labels are made A-labels by whoever asks. Only
// records of the class IN. Whoever makes us ask for more than some 250 silent names a second, each of another registered
// domain, slows down everybody's questions.
package resolver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/maypok86/otter/v2"
	"github.com/miekg/dns"
)

// Config of a resolver. All fields may be zero.
type Config struct {
	// Servers are asked in this order. Empty: those of File, which is read again when it changes.
	Servers []netip.AddrPort
	// File is in the form of resolv.conf(5); /etc/resolv.conf.
	File string
	// Timeout is what one try at one server may take; 2 s.
	Timeout time.Duration
	// Tries is how often the servers that say nothing are asked, all in turn; 2.
	Tries int
	// Total is what one question may take at all servers, aliases followed; 8 s: who asks for SPF waits for 10.
	Total time.Duration
	// Size is how many answers are kept; 20000. One of more than half a kilobyte counts as several.
	Size int
	// Now is the clock that says how old an answer is; time.Now.
	Now func() time.Time
	// Logger is told when the DNS goes away and comes back, and when there are too many questions; nil: nobody.
	Logger *slog.Logger
}

// How long answers are kept.
const (
	leastKept    = 5 * time.Second
	mostKept     = time.Hour
	mostKeptNone = 5 * time.Minute
	failureKept  = 5 * time.Second
	// longest is how long others keep an answer, as recursive servers do; what claims more is taken for that.
	longest = 24 * time.Hour
)

// Resolver asks and remembers. Its methods are called from many goroutines.
type Resolver struct {
	conf    Config
	servers *servers
	gate    *gate
	cache   *otter.Cache[question, kept]
	slots   chan struct{} // holds one for each question that is being asked
	open    context.Context
	end     context.CancelFunc
	work    sync.WaitGroup

	hits, asked atomic.Uint64
	turned      turned

	mu      sync.Mutex
	flights map[question]*flight
	below   map[string]int // of them, by the registered domain
	queue   int            // of them, those that wait for a slot
	closed  bool
}

// question is what is asked, and the key under which the answer is kept.
type question struct {
	name string // in small letters, escaped as in a zone file, with the dot at the end
	kind uint16 // dns.TypeTXT …
}

// kept is an answer in the cache, or that there was none.
type kept struct {
	answer answer
	err    *net.DNSError // what could not be found out; without the name
	until  time.Time
}

// New makes a resolver. The error says which of the settings cannot be.
func New(c Config) (*Resolver, error) {
	c.fill()
	for _, s := range c.Servers {
		if !s.IsValid() || s.Port() == 0 {
			return nil, fmt.Errorf("a DNS server is written ADDRESS:PORT, not %v", s)
		}
	}
	cache, err := otter.New(&otter.Options[question, kept]{
		MaximumWeight: uint64(c.Size),
		Weigher:       func(q question, k kept) uint32 { return 1 + uint32(k.answer.size()/512) },
		Executor:      func(f func()) { f() }, // nothing it runs is long, and so it leaves no goroutine behind
	})
	if err != nil {
		return nil, fmt.Errorf("the cache of the DNS: %w", err)
	}
	r := &Resolver{conf: c, cache: cache, servers: newServers(c), slots: make(chan struct{}, maxFlights),
		flights: map[question]*flight{}, below: map[string]int{}}
	r.turned.now, r.turned.logger = c.Now, c.Logger
	r.gate = &gate{now: c.Now, logger: c.Logger}
	r.open, r.end = context.WithCancel(context.Background())
	return r, nil
}

func (c *Config) fill() {
	if c.File == "" {
		c.File = "/etc/resolv.conf"
	}
	if c.Timeout <= 0 {
		c.Timeout = 2 * time.Second
	}
	if c.Tries <= 0 {
		c.Tries = 2
	}
	if c.Total <= 0 {
		c.Total = 8 * time.Second
	}
	if c.Size <= 0 {
		c.Size = 20000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Servers = slices.Clone(c.Servers)
}

// Close ends the questions under way, which fail, and waits for them. Later ones fail at once.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end()
	r.work.Wait()
}

// LookupTXT returns the TXT records of a name, the strings of each joined.
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	a, err := r.lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	return slices.Clone(a.texts), nil
}

// LookupA returns the IPv4 addresses of a name. Who asks for them alone spares the servers a question.
func (r *Resolver) LookupA(ctx context.Context, name string) ([]netip.Addr, error) {
	a, err := r.lookup(ctx, name, dns.TypeA)
	if err != nil {
		return nil, err
	}
	return slices.Clone(a.addrs), nil
}

// LookupAFresh is LookupA for one who must know what is so now: it asks a server even where an answer is
// remembered, but not again within 5 s where that could not be found out (RFC 9520, 3.2). The servers asked have memories of
// their own. So it also says for how long the answer may still be given from there, a day at most: what one asks
// after that was found out later than this.
func (r *Resolver) LookupAFresh(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	a, err := r.find(ctx, name, dns.TypeA, true)
	if err != nil {
		return nil, 0, err
	}
	return slices.Clone(a.addrs), a.ttl, nil
}

// LookupMX returns the MX records of a name, the preferred first, hosts with the dot at
// the end. A null MX (RFC 7505) is one with the host ".".
func (r *Resolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	a, err := r.lookup(ctx, name, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	mxs := make([]*net.MX, len(a.texts))
	for i, host := range a.texts {
		mxs[i] = &net.MX{Host: host, Pref: a.prefs[i]}
	}
	slices.SortStableFunc(mxs, func(a, b *net.MX) int { return int(a.Pref) - int(b.Pref) })
	return mxs, nil
}

// LookupIPAddr returns the IPv4 and IPv6 addresses of a host. If one kind could not be found
// out, those of the other are returned with the error: who cannot do with half has to heed it.
// An address, written out, is its own answer.
func (r *Resolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []net.IPAddr{{IP: ip.AsSlice(), Zone: ip.Zone()}}, nil
	}
	type half struct {
		answer answer
		err    error
	}
	v6 := make(chan half, 1)
	go func() {
		a, err := r.lookup(ctx, host, dns.TypeAAAA)
		v6 <- half{a, err}
	}()
	a, err := r.lookup(ctx, host, dns.TypeA)
	other := <-v6
	addrs := make([]net.IPAddr, 0, len(a.addrs)+len(other.answer.addrs))
	for _, ip := range append(slices.Clip(a.addrs), other.answer.addrs...) {
		addrs = append(addrs, net.IPAddr{IP: ip.AsSlice()})
	}
	for _, e := range []error{err, other.err} {
		if e != nil && !e.(*net.DNSError).IsNotFound {
			return addrs, e
		}
	}
	if len(addrs) == 0 {
		return nil, err
	}
	return addrs, nil
}

// LookupAddr returns the names of an address, with the dot at the end. It does not look
// whether they lead back to it.
func (r *Resolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Zone() != "" {
		return nil, &net.DNSError{Err: "not an address that has a name", Name: shown(addr), IsNotFound: true}
	}
	reverse, err := dns.ReverseAddr(ip.Unmap().String())
	if err != nil {
		return nil, &net.DNSError{Err: "not an address that has a name", Name: shown(addr), IsNotFound: true}
	}
	a, err := r.lookup(ctx, reverse, dns.TypePTR)
	if err != nil {
		return nil, err
	}
	return slices.Clone(a.texts), nil
}

// lookup answers from memory or asks. The error is nil or a *net.DNSError.
func (r *Resolver) lookup(ctx context.Context, name string, kind uint16) (answer, error) {
	return r.find(ctx, name, kind, false)
}

// find is lookup; anew: answers in memory do not count.
func (r *Resolver) find(ctx context.Context, name string, kind uint16, anew bool) (answer, error) {
	q := question{kind: kind}
	var ok bool
	if q.name, ok = wireName(name); !ok {
		return answer{}, &net.DNSError{Err: "not a name that can be in the DNS", Name: shown(name), IsNotFound: true}
	}
	r.asked.Add(1)
	if k, found := r.known(q, anew); found {
		r.hits.Add(1)
		return k.tell(name)
	}
	if ctx.Err() != nil {
		return answer{}, gone(ctx, name)
	}
	f, why := r.join(q, anew)
	if why != "" {
		return answer{}, &net.DNSError{Err: why, Name: shown(name), IsTemporary: true}
	}
	select {
	case <-f.done:
		return f.kept.tell(name)
	case <-ctx.Done():
		r.leave(f)
		return answer{}, gone(ctx, name)
	}
}

// gone says that whoever asked waits no more.
func gone(ctx context.Context, name string) *net.DNSError {
	e := &net.DNSError{UnwrapErr: ctx.Err(), Err: "nobody waits for the answer any more", Name: shown(name), IsTemporary: true}
	if ctx.Err() == context.DeadlineExceeded {
		e.Err, e.IsTimeout = "there was no answer in time", true
	}
	return e
}

// known is what the cache has of the question; anew: only that it could not be found out.
func (r *Resolver) known(q question, anew bool) (kept, bool) {
	k, found := r.cache.GetIfPresent(q)
	if !found || anew && k.err == nil {
		return kept{}, false
	}
	if !r.conf.Now().Before(k.until) {
		r.cache.Invalidate(q)
		return kept{}, false
	}
	return k, true
}

// tell is what is said to somebody who asked for this name.
func (k kept) tell(name string) (answer, error) {
	switch {
	case k.err != nil:
		e := *k.err
		e.Name = shown(name)
		return answer{}, &e
	case k.answer.none != "":
		return answer{}, &net.DNSError{Err: k.answer.none, Name: shown(name), IsNotFound: true}
	}
	return k.answer, nil
}

// shown is a name as a log can bear it: strangers make them.
func shown(name string) string {
	if len(name) > 300 {
		name = name[:300]
	}
	return strings.Map(func(c rune) rune {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, name)
}
