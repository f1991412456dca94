package mailtest

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// DNSFault is a way in which a DNS server does not simply answer.
type DNSFault uint8

const (
	DNSWell          DNSFault = iota // answers from the zone
	DNSServFail                      // SERVFAIL
	DNSRefused                       // REFUSED
	DNSNotImp                        // NOTIMP
	DNSFormErr                       // FORMERR to a question with EDNS, and nothing but that; well to one without
	DNSNXDomain                      // the name is not there, with the SOA record of the zone
	DNSNoData                        // the name is there, and has no such record
	DNSNoSOA                         // NXDOMAIN without a SOA record
	DNSLame                          // a referral to somebody else, with an empty answer
	DNSTruncated                     // over UDP nothing but the truncation bit; whole over TCP
	DNSTruncatedDeaf                 // over UDP truncated; a TCP connection is closed without an answer
	DNSTruncatedBoth                 // truncated over both
	DNSSilent                        // no answer at all
	DNSWrongID                       // an answer with the id of another question, and no other
	DNSWrongQuestion                 // an answer that repeats another question, and no other
	DNSNoQuestion                    // an answer that repeats no question
	DNSNotAnswer                     // the question sent back, as a reflector does
	DNSGarbage                       // octets that are no message
	DNSShort                         // a message cut in the middle
	DNSSpoofed                       // forged answers first (wrong id, wrong question, garbage, 192.0.2.66), the right one at last
	DNSLowerCase                     // the question is repeated in small letters, as some old servers do
	DNSLoop                          // a CNAME record that leads back to itself by way of another
	DNSOtherOwner                    // the records in the answer are of another name
	DNSHalfChain                     // a CNAME record is told and not followed
	DNSFlood                         // over UDP a hundred answers with wrong ids; whole over TCP
)

// DNSQuery is one question that a DNS server was asked.
type DNSQuery struct {
	Name    string // in small letters, with the dot at the end
	Type    uint16 // as in dns.TypeTXT
	Network string // "udp" or "tcp"
	Asked   string // the name as it was written
	Size    uint16 // what the sender takes over UDP (EDNS); 0: no EDNS
}

// DNS is a DNS server for tests, on the loopback, with UDP and TCP on one port. It knows
// the records of a zone text and answers wrongly to order. CNAME records are followed as far as the
// zone goes, as a resolver does. It is safe for concurrent use.
type DNS struct {
	t    testing.TB
	addr netip.AddrPort

	mu      sync.Mutex
	records map[string][]dns.RR // by name in small letters
	faults  map[string]DNSFault // by name, or "name TYPE"
	holds   map[string]chan struct{}
	all     DNSFault
	asked   []DNSQuery
	changed chan struct{}
	servers []*dns.Server
	served  sync.WaitGroup
	ended   chan struct{}
}

// StartDNS starts a DNS server with these records; it stops when the test ends. The records
// are written as in a zone file, names with or without the dot at the end, TTLs of 300 s unless given:
//
//	example.com      TXT  "v=spf1 mx -all"
//	*.example.com 60 A    192.0.2.1
//
// The zone is the root: every name that it does not have is NXDOMAIN, and that may be kept for 60 s.
func StartDNS(t testing.TB, zone string) *DNS {
	t.Helper()
	d := &DNS{t: t, faults: map[string]DNSFault{}, holds: map[string]chan struct{}{}, changed: make(chan struct{}), ended: make(chan struct{})}
	d.Set(zone)
	d.Up()
	t.Cleanup(func() { close(d.ended); d.Down() })
	return d
}

// Addr is where it listens, also after Down and Up.
func (d *DNS) Addr() netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addr
}

// Up listens, on the same address as before. It does nothing if the server is up.
func (d *DNS) Up() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.servers != nil {
		return
	}
	tcp, udp, err := listenBoth(d.addr)
	if err != nil {
		d.t.Fatalf("the DNS server cannot listen: %v", err)
	}
	d.addr = udp.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, s := range []*dns.Server{
		{Listener: tcp, Handler: d.handler("tcp")},
		{PacketConn: udp, Handler: d.handler("udp")},
	} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		d.served.Go(func() { s.ActivateAndServe() })
		<-up
		d.servers = append(d.servers, s)
	}
}

// Down stops listening: a datagram is then refused by the kernel, and a connection too.
func (d *DNS) Down() {
	d.mu.Lock()
	servers := d.servers
	d.servers = nil
	d.mu.Unlock()
	for _, s := range servers {
		s.Shutdown()
	}
	d.served.Wait()
}

// listenBoth opens UDP and TCP on one port, a free one unless addr names it.
func listenBoth(addr netip.AddrPort) (net.Listener, net.PacketConn, error) {
	want := "127.0.0.1:0"
	if addr.IsValid() {
		want = addr.String()
	}
	for tries := 0; ; tries++ {
		tcp, err := net.Listen("tcp", want)
		if err != nil {
			return nil, nil, err
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return tcp, udp, nil
		}
		tcp.Close() // somebody else has that port for UDP
		if addr.IsValid() || tries == 20 {
			return nil, nil, err
		}
	}
}

// Set gives the server these records instead of those it has.
func (d *DNS) Set(zone string) {
	d.t.Helper()
	records := d.parse(zone)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records = map[string][]dns.RR{}
	d.add(records)
}

// Add gives the server further records.
func (d *DNS) Add(zone string) {
	d.t.Helper()
	records := d.parse(zone)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(records)
}

// AddRecords gives the server records that a zone text cannot say.
func (d *DNS) AddRecords(records ...dns.RR) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(records)
}

func (d *DNS) add(records []dns.RR) {
	for _, rr := range records {
		name := canonical(rr.Header().Name)
		d.records[name] = append(d.records[name], rr)
	}
}

func (d *DNS) parse(zone string) []dns.RR {
	d.t.Helper()
	p := dns.NewZoneParser(strings.NewReader(zone+"\n"), ".", "the zone of the test")
	p.SetDefaultTTL(300)
	var records []dns.RR
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		records = append(records, rr)
	}
	if err := p.Err(); err != nil {
		d.t.Fatalf("%v", err)
	}
	return records
}

// Fail makes the server answer so for this name, and types ("TXT", "A") if some are given;
// DNSWell takes that back. The name "" stands for all.
func (d *DNS) Fail(name string, f DNSFault, types ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case name == "":
		d.all = f
	case len(types) == 0:
		d.faults[canonical(name)] = f
	}
	for _, t := range types {
		d.faults[canonical(name)+" "+t] = f
	}
}

// Hold keeps back what the server says of this name until release is called.
func (d *DNS) Hold(name string) (release func()) {
	ch := make(chan struct{})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holds[canonical(name)] = ch
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.holds, canonical(name))
		close(ch)
	})
}

// Queries returns the questions so far, oldest first.
func (d *DNS) Queries() []DNSQuery {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.asked)
}

// Asked says how many questions there were for a name, of any type if types is empty. The name
// "" stands for all.
func (d *DNS) Asked(name string, types ...string) int {
	n := 0
	for _, q := range d.Queries() {
		if name != "" && q.Name != canonical(name) {
			continue
		}
		if len(types) == 0 || slices.Contains(types, dns.TypeToString[q.Type]) {
			n++
		}
	}
	return n
}

// Forget drops the record of questions.
func (d *DNS) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = nil
}

// Wait returns when done says so; done is asked now and after every question. The test fails
// when that takes longer than Patience.
func (d *DNS) Wait(t testing.TB, what string, done func(*DNS) bool) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	for {
		d.mu.Lock()
		ch := d.changed
		d.mu.Unlock()
		if done(d) {
			return
		}
		select {
		case <-ch:
		case <-deadline.C:
			t.Fatalf("waited in vain for the DNS server: %s; it was asked %s", what, fmt.Sprint(d.Queries()))
		}
	}
}
