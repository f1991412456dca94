// Package blocklist asks DNS blocklists about addresses, as RFC 5782 describes them, and says no more than it
// found out: "not listed" is said only of a list that has just shown that it answers us.
//
// A list is a zone. The address, turned round, is a name in it; an A record there says *listed*, NXDOMAIN says
// *not listed*. That makes silence look like good news: a list that has shut down, that does not answer
// the resolver it is asked through, or whose zone a resolver makes up answers for, would look clean or full. So before an
// address is judged the test entries are asked (RFC 5782, 5): 127.0.0.2 must be listed, and 127.0.0.1 must not be.
// For IPv6 these are ::ffff:7f00:2 and ::ffff:7f00:1; a list that has the one of IPv4 and not the one of IPv6 does not list
// IPv6, and the other way round. A list that has neither cannot clear an address; that it lists one is believed all the same.
//
// Answers count if they are in 127.0.0.0/8, and are neither 127.0.0.1 nor 127.255.255.x, by which lists say that they
// refuse to answer. What comes beside such an answer is not believed either.
//
// It dials nothing: whoever asks hands a Resolver in. A Watch asks again and again and tells of changes.
//
// # Limits
//
// Lists of domains and of hashes are not asked. A list of IPv6 addresses without the test entry that the RFC wants is taken for one
// that does not list IPv6, unless it lists the address itself. What the codes of other lists than those of Known mean
// stands on their own pages. The DNS servers that are asked have memories of their own: one check alone may clear an address by a
// test entry out of such a memory, while the list refuses by now. A Watch does not end an alarm by that.
package blocklist

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// Resolver asks the DNS. An error is a *net.DNSError, with IsNotFound where the DNS says that there is no
// such record; all others mean that it could not be found out.
type Resolver interface {
	// LookupAFresh asks a server, whatever the asker itself remembers; with an answer comes how much longer the servers'
	// memories may give the same.
	LookupAFresh(ctx context.Context, name string) ([]netip.Addr, time.Duration, error)
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Standing is what a list says of an address.
type Standing uint8

const (
	Unknown    Standing = iota // it could not be found out
	Clean                      // not listed, by a list that answers us
	Listed                     // listed
	NotCovered                 // the list does not list addresses of this family
)

var standings = [...]string{"unknown", "clean", "listed", "not-covered"}

func (s Standing) String() string {
	if int(s) < len(standings) {
		return standings[s]
	}
	return fmt.Sprintf("Standing(%d)", s)
}

// Result is what one list says of one address.
type Result struct {
	Zone     string
	Address  netip.Addr
	Standing Standing
	Codes    []netip.Addr // Listed: the answers, sorted; at least one
	Text     []string     // Listed: what the list says of it (TXT), fit to be printed; may be empty
	Why      string       // Unknown, NotCovered: the reason, in words
	Took     time.Duration
	// Kept is how much longer the answer to the test entry on which Clean or NotCovered rests may come from some memory:
	// if the entry is there after that, then the list has answered since.
	Kept time.Duration
}

// Overall is what several lists say of one address: listed if one of them lists it; otherwise unknown if one of
// those that could have it could not tell, or if none of them lists addresses of its family; otherwise clean.
func Overall(results []Result) Standing {
	told, unknown := false, false
	for _, r := range results {
		switch r.Standing {
		case Listed:
			return Listed
		case Clean:
			told = true
		case Unknown:
			unknown = true
		}
	}
	if unknown || !told {
		return Unknown
	}
	return Clean
}
