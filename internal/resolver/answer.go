package resolver

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxChain is how many CNAME records are followed, in one answer and from one to the next.
const maxChain = 12

// answer is what a server said of a name.
type answer struct {
	texts []string // TXT: the records; MX and PTR: the names
	prefs []uint16 // MX: one for each of texts
	addrs []netip.Addr
	none  string        // why there is nothing; "": there is
	next  string        // there is a CNAME record that leads there, and what is there was not said
	ttl   time.Duration // how long it holds, as the server says; longest at most
}

// size is how many octets it holds, about.
func (a answer) size() int {
	n := len(a.prefs)*2 + len(a.addrs)*24
	for _, t := range a.texts {
		n += len(t) + 16
	}
	return n
}

// What an answer may be that tells nothing. The server is asked in another way, or another one.
var (
	errNotOurs   = errors.New("answers came that are not to this question")
	errCase      = errors.New("the question came back in other letters")
	errCut       = errors.New("the answer is cut short")
	errNoEDNS    = errors.New("the server does not know EDNS")
	errServFail  = errors.New("the server says that it cannot find out (SERVFAIL)")
	errRefused   = errors.New("the server refuses to answer (REFUSED)")
	errCode      = errors.New("the server does not understand the question")
	errLame      = errors.New("the server does not look for the answer: it is no resolver")
	errLoop      = errors.New("the name is an alias that leads back to itself, or too far")
	errUnrelated = errors.New("the answer has records of other names only")
)

// read takes a message for the answer to what was asked. The error is one of the above.
func read(b []byte, asked *dns.Msg) (answer, error) {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return answer{}, errNotOurs
	}
	if !m.Response || m.Opcode != dns.OpcodeQuery || m.Id != asked.Id || len(m.Question) > 1 {
		return answer{}, errNotOurs
	}
	if len(m.Question) == 0 { // only who cannot read the question may leave it out
		if m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented {
			return answer{}, failed(m, asked)
		}
		return answer{}, errNotOurs
	}
	got, want := m.Question[0], asked.Question[0]
	if got.Qtype != want.Qtype || got.Qclass != want.Qclass || !strings.EqualFold(got.Name, want.Name) {
		return answer{}, errNotOurs
	}
	switch {
	case got.Name != want.Name:
		return answer{}, errCase
	case m.Truncated:
		return answer{}, errCut
	case m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError:
		return follow(m, question{strings.ToLower(want.Name), want.Qtype})
	}
	return answer{}, failed(m, asked)
}

// failed names what the code of a failure says.
func failed(m *dns.Msg, asked *dns.Msg) error {
	switch m.Rcode {
	case dns.RcodeServerFailure:
		return errServFail
	case dns.RcodeRefused:
		return errRefused
	case dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers:
		if asked.IsEdns0() != nil {
			return errNoEDNS
		}
	}
	return errCode
}

// follow finds the records at the end of the chain of CNAME records that begins at the name.
func follow(m *dns.Msg, q question) (answer, error) {
	a := answer{ttl: longest}
	alias := map[string]*dns.CNAME{}
	for _, rr := range m.Answer {
		if c, is := rr.(*dns.CNAME); is && c.Hdr.Class == dns.ClassINET {
			alias[strings.ToLower(c.Hdr.Name)] = c
		}
	}
	name := q.name
	for n := 0; ; n++ {
		c := alias[name]
		if c == nil {
			break
		}
		if n == maxChain {
			return answer{}, errLoop
		}
		a.live(c.Hdr.Ttl)
		name = strings.ToLower(c.Target)
	}
	found := false
	for _, rr := range m.Answer {
		h := rr.Header()
		if h.Rrtype == q.kind && h.Class == dns.ClassINET && strings.EqualFold(h.Name, name) {
			found = true
			a.live(h.Ttl)
			a.take(rr)
		}
	}
	if found {
		if len(a.texts)+len(a.addrs) == 0 {
			a.none = "its records hold nothing that can be used"
		}
		return a, nil
	}
	return a.nothing(m, name, len(alias) > 0 && name != q.name)
}

// live shortens the life of the answer to that of a record.
func (a *answer) live(ttl uint32) {
	if ttl > 1<<31-1 { // RFC 2181, 8
		ttl = 0
	}
	a.ttl = min(a.ttl, time.Duration(ttl)*time.Second)
}

// take adds what a record of the right kind says.
func (a *answer) take(rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.TXT:
		a.texts = append(a.texts, joined(rr.Txt))
	case *dns.MX:
		if host, ok := plainName(rr.Mx); ok {
			a.texts, a.prefs = append(a.texts, host), append(a.prefs, rr.Preference)
		}
	case *dns.PTR:
		if name, ok := plainName(rr.Ptr); ok {
			a.texts = append(a.texts, name)
		}
	case *dns.A:
		if ip, ok := netip.AddrFromSlice(rr.A.To4()); ok {
			a.addrs = append(a.addrs, ip)
		}
	case *dns.AAAA:
		if ip, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok && !ip.Is4In6() { // that would be taken for one of an A record
			a.addrs = append(a.addrs, ip)
		}
	}
}

// joined is one text of the strings of a TXT record, which the library escapes as a zone file does.
func joined(strs []string) string {
	s := strings.Join(strs, "")
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\' || i+1 == len(s):
			b = append(b, s[i])
		case '0' <= s[i+1] && s[i+1] <= '9' && i+3 < len(s):
			b = append(b, byte(int(s[i+1]-'0')*100+int(s[i+2]-'0')*10+int(s[i+3]-'0')))
			i += 3
		default:
			i++
			b = append(b, s[i])
		}
	}
	return string(b)
}

// nothing makes an answer of one that has no such record: the SOA record says how long (RFC 2308, 5), and
// without one it is not kept for long.
func (a answer) nothing(m *dns.Msg, name string, aliased bool) (answer, error) {
	a.none = "there is no such record"
	if m.Rcode == dns.RcodeNameError {
		a.none = "there is no such name"
	}
	for _, rr := range m.Ns {
		if s, is := rr.(*dns.SOA); is {
			a.live(min(s.Hdr.Ttl, s.Minttl))
			a.ttl = min(a.ttl, mostKeptNone)
			return a, nil
		}
	}
	switch {
	case !m.RecursionAvailable && !m.Authoritative:
		return answer{}, errLame
	case m.Rcode == dns.RcodeNameError:
	case name == "": // a record without its data
		return answer{}, errUnrelated
	case aliased:
		a.next, a.none = name, ""
		return a, nil
	case len(m.Answer) > 0:
		return answer{}, errUnrelated
	}
	a.ttl = 0
	return a, nil
}

// mixed is the name in letters that are capital or small by chance: whoever forges an answer without having seen the
// question has to guess them too.
func mixed(name string) string {
	b := []byte(name)
	bits, left := uint64(0), 0
	for i, c := range b {
		if left == 0 {
			bits, left = rand.Uint64(), 64
		}
		if 'a' <= c && c <= 'z' {
			b[i] = c - byte(bits&1)<<5
			bits >>= 1
			left--
		}
	}
	return string(b)
}
