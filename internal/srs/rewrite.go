package srs

import (
	"crypto/subtle"
	"strings"
	"time"

	"backstop/internal/mail"
)

// Forwarding is what Forward did with an address.
type Forwarding uint8

const (
	NotAsked   Forwarding = iota
	Forwarded             // it is an SRS address of this forwarder now
	NullSender            // there is no sender to rewrite
	Own                   // it is in the forwarder's own domain, or an SRS address of its own already
	TooLong               // the local part would exceed 64 octets
	NoDomain              // a local part alone, or a forwarder without a domain
	Broken                // an SRS address of somebody else's in which a part is missing: no bounce to it could be reversed
	forwardings
)

var forwardingNames = [forwardings]string{"not asked", "forwarded", "null sender", "own", "too long", "no domain", "broken"}

func (f Forwarding) String() string { return forwardingNames[f] }

// Forward makes the address under which mail of sender is sent on. Whatever it says, the address
// returned is the one to use.
func (r *Rewriter) Forward(sender mail.Address, now time.Time) (mail.Address, Forwarding) {
	switch {
	case sender.IsZero():
		return sender, NullSender
	case sender.Domain() == "" || r.domain == "":
		return sender, NoDomain
	case sender.Domain() == r.domain:
		return sender, Own
	}
	quote, level, rest := open(sender.Local())
	if level >= 0 && r.Reverse(sender, now).Standing == Valid {
		return sender, Own
	}
	var local string
	switch level {
	case 0: // whoever rewrote it first is named; the rest is his
		if !isInner(rest) {
			return sender, Broken
		}
		local = "SRS1" + r.separator + r.hash(r.secrets[0], sender.Domain(), rest) + "=" + sender.Domain() + "=" + rest
	case 1: // the one before us is left out: he has proven what is in it by then
		_, first, _ := strings.Cut(rest[1:], "=")
		host, inner, _ := strings.Cut(first, "=")
		if !isInner(inner) {
			return sender, Broken
		}
		if _, err := mail.FoldDomain(host); err != nil {
			return sender, Broken
		}
		local = "SRS1" + r.separator + r.hash(r.secrets[0], host, inner) + "=" + first
	default:
		tt := stamp(dayOf(now))
		local = "SRS0" + r.separator + r.hash(r.secrets[0], tt, sender.Domain(), sender.Local()) + "=" + tt + "=" + sender.Domain() + "=" + rest
	}
	to, err := mail.ParseAddress(quote + local + quote + "@" + r.domain)
	if err != nil || len(to.Local()) > mail.MaxLocalPart { // what others made longer is read; none is made that a server may refuse
		return sender, TooLong
	}
	return to, Forwarded
}

// Standing is what an SRS address proves.
type Standing uint8

const (
	Unasked   Standing = iota
	NotSRS             // it has not the form
	Valid              // made with a secret of ours; SRS0: not more than MaxAgeDays ago
	Expired            // made with a secret of ours, longer ago
	Forged             // the hash is not ours: forged, or of another forwarder
	Malformed          // it begins as one, and a part is missing or is no address
	standings
)

var standingNames = [standings]string{"not asked", "not srs", "valid", "expired", "forged", "malformed"}

func (s Standing) String() string { return standingNames[s] }

// Finding is what Reverse found.
type Finding struct {
	Standing Standing
	Level    int          // 0 or 1, for SRS0 and SRS1
	Address  mail.Address // who is meant; of Valid only: nobody may be sent to on a forged word
	Expires  time.Time    // the end of its last day (UTC); of SRS0, Valid and Expired
}

// Reverse judges an SRS address and says who is meant. The domain is not looked at: whether it is ours
// is for the caller to know.
func (r *Rewriter) Reverse(a mail.Address, now time.Time) Finding {
	quote, level, rest := open(a.Local())
	if level < 0 {
		return Finding{Standing: NotSRS}
	}
	f := Finding{Standing: Malformed, Level: level}
	hash, rest, ok := strings.Cut(rest[1:], "=")
	if !ok || hash == "" {
		return f
	}
	if level == 1 {
		host, user, _ := strings.Cut(rest, "=")
		if host == "" || !isInner(user) {
			return f
		}
		return r.conclude(f, quote, "SRS0"+user, host, r.proves(hash, host, user))
	}
	tt, rest, _ := strings.Cut(rest, "=")
	host, user, ok := strings.Cut(rest, "=")
	made, isDay := readStamp(tt)
	if !ok || !isDay || host == "" || user == "" {
		return f
	}
	today := dayOf(now)
	age := (today%slots - made + slots) % slots
	f = r.conclude(f, quote, user, host, r.proves(hash, tt, host, quote+user+quote))
	if f.Standing != Valid {
		return f
	}
	f.Expires = time.Unix(int64(today-age+MaxAgeDays+1)*24*60*60, 0).UTC()
	if age > MaxAgeDays {
		f.Standing, f.Address = Expired, mail.Address{}
	}
	return f
}

// isInner says whether s may stand behind the SRS0 that an SRS1 address leaves out.
func isInner(s string) bool { return len(s) > 1 && strings.IndexByte("=+-", s[0]) >= 0 }

// conclude fills in the address, if the hash is right.
func (r *Rewriter) conclude(f Finding, quote, user, host string, proven bool) Finding {
	if !proven {
		f.Standing = Forged
		return f
	}
	to, err := mail.ParseAddress(quote + user + quote + "@" + host)
	if err != nil {
		return f
	}
	f.Standing, f.Address = Valid, to
	return f
}

// proves compares a hash with those of all secrets, whatever the case of its digits, in constant time.
func (r *Rewriter) proves(hash string, parts ...string) bool {
	if len(hash) < r.min || len(hash) > r.digits {
		return false
	}
	got := strings.ToLower(hash)
	for _, s := range r.secrets {
		want := strings.ToLower(r.hash(s, parts...)[:len(hash)])
		if subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1 {
			return true
		}
	}
	return false
}
