package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"

	"github.com/miekg/dns"
)

// names is the DNS of the row layers: what its zone holds, and that nothing else exists. It asks nobody. A subdomain of
// freshDomain publishes what that does itself, so that each message can have a domain of which nobody has heard.
type names map[string][]dns.RR

// dnsMain is the process: it prints its address and serves until its standard input ends.
func dnsMain(args []string) error {
	flags := flag.NewFlagSet("dns", flag.ContinueOnError)
	zone := flags.String("zone", "", "file of records, as in a master file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	text, err := os.ReadFile(*zone)
	if err != nil {
		return err
	}
	n, err := readZone(string(text))
	if err != nil {
		return err
	}
	packets, stream, err := bothAt()
	if err != nil {
		return err
	}
	fmt.Println(packets.LocalAddr())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	servers := []*dns.Server{{PacketConn: packets, Handler: n}, {Listener: stream, Handler: n}}
	for _, s := range servers {
		go s.ActivateAndServe()
	}
	<-ctx.Done()
	packets.Close()
	return stream.Close()
}

// bothAt listens for packets and connections at one free port.
func bothAt() (net.PacketConn, net.Listener, error) {
	const tries = 10 // somebody may have the port already, for one of the two
	var last error
	for range tries {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return p, l, nil
		}
		l.Close()
		last = err
	}
	return nil, nil, last
}

// readZone reads records.
func readZone(text string) (names, error) {
	n := names{}
	zone := dns.NewZoneParser(strings.NewReader(text), ".", "")
	for rr, ok := zone.Next(); ok; rr, ok = zone.Next() {
		name := strings.ToLower(rr.Header().Name)
		n[name] = append(n[name], rr)
	}
	return n, zone.Err()
}

// stem is the name in the zone that answers for a name.
func stem(name string) string {
	const parent = freshDomain + "."
	policy, rest := "", name
	if cut, ok := strings.CutPrefix(name, "_dmarc."); ok {
		policy, rest = "_dmarc.", cut
	}
	if strings.HasSuffix(rest, "."+parent) {
		return policy + parent
	}
	return name
}

// ServeDNS answers one question.
func (n names) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	a := new(dns.Msg)
	a.SetReply(q)
	a.RecursionAvailable = true
	if len(q.Question) == 1 {
		records, known := n[stem(strings.ToLower(q.Question[0].Name))]
		if !known {
			a.Rcode = dns.RcodeNameError
		}
		for _, rr := range records {
			if rr.Header().Rrtype == q.Question[0].Qtype {
				rr = dns.Copy(rr)
				rr.Header().Name = q.Question[0].Name
				a.Answer = append(a.Answer, rr)
			}
		}
	}
	size := dns.MinMsgSize
	if o := q.IsEdns0(); o != nil {
		size = int(o.UDPSize())
		a.SetEdns0(o.UDPSize(), false)
	}
	if _, packets := w.RemoteAddr().(*net.UDPAddr); packets {
		a.Truncate(size)
	}
	_ = w.WriteMsg(a) // who does not get it asks again
}
