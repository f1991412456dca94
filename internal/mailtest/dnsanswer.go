package mailtest

import (
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// maxChain is how many CNAME records are followed in one answer.
const maxChain = 20

// handler answers what comes over this network.
func (d *DNS) handler(network string) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if len(q.Question) != 1 {
			return
		}
		fault, hold := d.note(network, q)
		if hold != nil {
			select {
			case <-hold:
			case <-d.ended:
				return
			}
		}
		if network == "tcp" {
			d.overTCP(w, q, fault)
		} else {
			d.overUDP(w, q, fault)
		}
	})
}

// note writes the question down, and says how it is to be answered, and when.
func (d *DNS) note(network string, q *dns.Msg) (DNSFault, chan struct{}) {
	one := q.Question[0]
	name := canonical(one.Name)
	asked := DNSQuery{Name: name, Type: one.Qtype, Network: network, Asked: one.Name}
	if o := q.IsEdns0(); o != nil {
		asked.Size = o.UDPSize()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, asked)
	close(d.changed)
	d.changed = make(chan struct{})
	fault, found := d.faults[name+" "+dns.TypeToString[one.Qtype]]
	if !found {
		fault, found = d.faults[name]
	}
	if !found {
		fault = d.all
	}
	return fault, d.holds[name]
}

func (d *DNS) overTCP(w dns.ResponseWriter, q *dns.Msg, fault DNSFault) {
	switch fault {
	case DNSTruncated, DNSFlood:
		w.WriteMsg(d.answer(q, DNSWell))
	case DNSTruncatedDeaf:
		w.Close()
	default:
		d.misbehave(w, q, fault)
	}
}

func (d *DNS) overUDP(w dns.ResponseWriter, q *dns.Msg, fault DNSFault) {
	if fault == DNSTruncated || fault == DNSTruncatedDeaf {
		fault = DNSTruncatedBoth
	}
	d.misbehave(w, q, fault)
}

// misbehave sends what a server with this fault sends.
func (d *DNS) misbehave(w dns.ResponseWriter, q *dns.Msg, fault DNSFault) {
	m := d.answer(q, fault)
	switch fault {
	case DNSSilent:
		return
	case DNSWrongID:
		m.Id++
	case DNSWrongQuestion:
		m.Question[0].Name = "wrong." + m.Question[0].Name
	case DNSNoQuestion:
		m.Question = nil
	case DNSNotAnswer:
		m.Response = false
	case DNSGarbage:
		w.Write([]byte{0xff, 0, 1})
		return
	case DNSShort:
		if b, err := m.Pack(); err == nil {
			w.Write(b[:len(b)-len(b)/3])
		}
		return
	case DNSSpoofed:
		d.spoof(w, q)
	case DNSLowerCase:
		m.Question[0].Name = strings.ToLower(m.Question[0].Name)
	case DNSFlood:
		for range 100 {
			m.Id++
			w.WriteMsg(m)
		}
		return
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		m.Truncate(takes(q))
	}
	w.WriteMsg(m)
}

// spoof sends what somebody sends who wants his answer believed and does not see the question.
func (d *DNS) spoof(w dns.ResponseWriter, q *dns.Msg) {
	for _, wrong := range []DNSFault{DNSGarbage, DNSWrongID, DNSWrongQuestion, DNSNotAnswer, DNSShort} {
		d.misbehave(w, q, wrong)
	}
	m := new(dns.Msg).SetReply(q)
	m.Id++
	m.Answer = []dns.RR{
		&dns.A{Hdr: head(q.Question[0].Name, dns.TypeA), A: []byte{192, 0, 2, 66}},
		&dns.TXT{Hdr: head(q.Question[0].Name, dns.TypeTXT), Txt: []string{"forged"}},
	}
	w.WriteMsg(m)
}

func head(name string, t uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: t, Class: dns.ClassINET, Ttl: 300}
}

// takes is how many octets the sender of the question takes over UDP.
func takes(q *dns.Msg) int {
	if o := q.IsEdns0(); o != nil {
		return int(o.UDPSize())
	}
	return dns.MinMsgSize
}

// answer makes the answer.
func (d *DNS) answer(q *dns.Msg, fault DNSFault) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	name, qtype := q.Question[0].Name, q.Question[0].Qtype
	switch fault {
	case DNSServFail:
		m.Rcode = dns.RcodeServerFailure
	case DNSRefused:
		m.Rcode = dns.RcodeRefused
	case DNSNotImp:
		m.Rcode = dns.RcodeNotImplemented
	case DNSNXDomain:
		m.Rcode, m.Ns = dns.RcodeNameError, soa()
	case DNSNoSOA:
		m.Rcode = dns.RcodeNameError
	case DNSNoData:
		m.Ns = soa()
	case DNSLame:
		m.RecursionAvailable = false
		m.Ns = []dns.RR{&dns.NS{Hdr: head("test.", dns.TypeNS), Ns: "ns.elsewhere.test."}}
	case DNSTruncatedBoth:
		m.Truncated = true
	case DNSLoop:
		m.Answer = []dns.RR{
			&dns.CNAME{Hdr: head(name, dns.TypeCNAME), Target: "round." + name},
			&dns.CNAME{Hdr: head("round."+name, dns.TypeCNAME), Target: name},
		}
	case DNSFormErr:
		if q.IsEdns0() != nil {
			m.Rcode = dns.RcodeFormatError
			return m
		}
		d.fill(m, name, qtype)
	default:
		d.fill(m, name, qtype)
	}
	if fault == DNSHalfChain && len(m.Answer) > 1 {
		m.Answer, m.Ns, m.Rcode = m.Answer[:1], nil, dns.RcodeSuccess
	}
	if fault == DNSOtherOwner {
		for _, rr := range m.Answer {
			rr.Header().Name = "other." + rr.Header().Name
		}
	}
	if o := q.IsEdns0(); o != nil {
		m.SetEdns0(4096, false)
	}
	return m
}

// fill puts what the zone says into the answer, at the end of a chain of CNAME records.
func (d *DNS) fill(m *dns.Msg, name string, qtype uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for range maxChain {
		records, there := d.find(name)
		if !there {
			m.Rcode, m.Ns = dns.RcodeNameError, soa()
			return
		}
		next := ""
		for _, rr := range records {
			rr = dns.Copy(rr)
			rr.Header().Name = name // as it was asked, and for a wildcard
			if c, alias := rr.(*dns.CNAME); alias && qtype != dns.TypeCNAME {
				next = c.Target
				m.Answer = append(m.Answer, rr)
			} else if rr.Header().Rrtype == qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
		if next == "" {
			if !slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == qtype }) {
				m.Ns = soa()
			}
			return
		}
		name = next
	}
}

// find returns the records of a name, those of a wildcard if it has none, and whether the name is
// there; d.mu is held.
func (d *DNS) find(name string) ([]dns.RR, bool) {
	name = canonical(name)
	if r, found := d.records[name]; found {
		return r, true
	}
	for other := range d.records {
		if strings.HasSuffix(other, "."+name) { // an empty non-terminal
			return nil, true
		}
	}
	for _, i := range dns.Split(name) {
		if i == 0 {
			continue
		}
		if r, found := d.records["*."+name[i:]]; found {
			return r, true
		}
	}
	return nil, false
}

// canonical is a name in small letters, with the dot at the end, escaped as it is when it comes over
// the wire.
func canonical(name string) string {
	name = dns.CanonicalName(name)
	var b [256]byte
	if _, err := dns.PackDomainName(name, b[:], 0, nil, false); err != nil {
		return name
	}
	name, _, _ = dns.UnpackDomainName(b[:], 0)
	return name
}

// soa is what says how long it may be remembered that there is nothing.
func soa() []dns.RR {
	return []dns.RR{&dns.SOA{Hdr: head(".", dns.TypeSOA), Ns: "ns.test.", Mbox: "hostmaster.test.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 60}}
}
