package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpSize is what fits a packet on any path, so that nothing is put together of pieces that
	// somebody else could replace (DNS flag day 2020).
	udpSize = 1232
	// maxWrong is how many datagrams that are no answer are passed over before TCP is tried: whoever
	// sends so many is guessing.
	maxWrong = 32
)

var (
	errSilent = errors.New("the server does not answer in time")
	errSlow   = errors.New("it takes too long to find out")
	errFlood  = errors.New("too many answers came that are not to this question")
	errEnds   = errors.New("the resolver is closed")
)

// spoke says whether an error of this kind shows that the server answered.
func spoke(err error) bool {
	for _, e := range []error{errCase, errCut, errNoEDNS, errServFail, errRefused, errCode, errLame, errLoop, errUnrelated} {
		if err == e {
			return true
		}
	}
	return err == nil
}

// ofName says whether the error is one of the name's servers, not of the one that was asked.
func ofName(err error) bool { return err == errServFail || err == errLoop || err == errUnrelated }

// exchange asks the servers in turn until one of them knows. One that answered is not asked again.
func (r *Resolver) exchange(f *flight, q question) (answer, *net.DNSError) {
	var why error
	var whose *server
	told := map[*server]bool{}
	for range r.conf.Tries {
		for _, s := range r.servers.order() {
			if told[s] || !r.wanted(f, why != nil) {
				continue
			}
			a, heard, err := r.askServer(f.ctx, s, q)
			if r.open.Err() != nil {
				return answer{}, &net.DNSError{Err: errEnds.Error(), IsTemporary: true}
			}
			if heard {
				r.gate.heard()
				told[s] = true
			}
			switch {
			case err == nil:
				r.servers.well(s)
				return a, nil
			case ofName(err):
				r.servers.well(s)
			case err == errSilent && f.ctx.Err() != nil: // it had less time than is its due
			default:
				r.servers.failed(s, err.Error())
			}
			if why == nil || !spoke(why) && spoke(err) {
				why, whose = err, s
			}
		}
	}
	if why == nil { // aliases took all the time, or nobody waits
		return answer{}, &net.DNSError{Err: errSlow.Error(), IsTemporary: true, IsTimeout: true}
	}
	if len(told) == 0 && r.gate.silent(why.Error()) {
		r.probe()
	}
	return answer{}, &net.DNSError{Err: why.Error(), Server: whose.addr.String(), IsTemporary: true, IsTimeout: why == errSilent}
}

// askServer asks one server, and again in another way when it stumbles over the first. It says
// whether the server answered at all.
func (r *Resolver) askServer(ctx context.Context, s *server, q question) (a answer, heard bool, err error) {
	w := way{plain: r.servers.isPlain(s)}
	for {
		a, err = r.askOnce(ctx, s.addr, q, w)
		heard = heard || spoke(err)
		switch {
		case err == errCase && !w.plain:
			// The next question is sent in small letters, and has an id and a port that whoever sent this does not know.
			r.servers.setPlain(s)
			w.plain = true
		case err == errNoEDNS && !w.bare:
			w.bare = true // RFC 6891, 6.2.2
		case (err == errCut || err == errFlood) && !w.tcp:
			w.tcp = true
		default:
			return a, heard, err
		}
	}
}

// way is how a question is put.
type way struct {
	plain bool // in small letters
	bare  bool // without EDNS
	tcp   bool
}

// askOnce puts a question once, in one way.
func (r *Resolver) askOnce(ctx context.Context, to netip.AddrPort, q question, w way) (answer, error) {
	m := new(dns.Msg)
	m.Id, m.RecursionDesired = dns.Id(), true
	m.Question = []dns.Question{{Name: q.name, Qtype: q.kind, Qclass: dns.ClassINET}}
	if !w.plain {
		m.Question[0].Name = mixed(q.name)
	}
	if !w.bare {
		m.SetEdns0(udpSize, false)
	}
	b, err := m.Pack()
	if err != nil {
		return answer{}, errUnrelated // wireName lets nothing through that cannot be packed
	}
	ctx, cancel := context.WithTimeout(ctx, r.conf.Timeout)
	defer cancel()
	network := "udp"
	if w.tcp {
		network = "tcp"
	}
	c, err := new(net.Dialer).DialContext(ctx, network, to.String())
	if err != nil {
		return answer{}, plainly(err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if w.tcp {
		return overTCP(c, b, m)
	}
	return overUDP(c, b, m)
}

func overUDP(c net.Conn, b []byte, m *dns.Msg) (answer, error) {
	if _, err := c.Write(b); err != nil {
		return answer{}, plainly(err)
	}
	buf := make([]byte, 4096)
	for wrong := range maxWrong {
		n, err := c.Read(buf)
		if err != nil {
			if wrong > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
				return answer{}, errNotOurs
			}
			return answer{}, plainly(err)
		}
		if a, err := read(buf[:n], m); err != errNotOurs {
			return a, err
		}
	}
	return answer{}, errFlood
}

// overTCP: each message has its length before it (RFC 1035, 4.2.2).
func overTCP(c net.Conn, b []byte, m *dns.Msg) (answer, error) {
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
		return answer{}, plainly(err)
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return answer{}, plainly(err)
	}
	buf := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, buf); err != nil {
		return answer{}, plainly(err)
	}
	return read(buf, m)
}

// plainly is an error of the network without the addresses, which are told beside it.
func plainly(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return errSilent
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the server hung up before it answered")
	case errors.As(err, &op):
		err = op.Err
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return number // without the name of the system call
	}
	return err
}

// probe asks all servers for the root, side by side: a resolver that lives has that at hand, whatever
// name it could not find out. It returns at once; the gate learns how it ended.
func (r *Resolver) probe() {
	r.work.Go(func() {
		count := r.gate.count()
		list := r.servers.order()
		ended := make(chan struct{}, len(list))
		for _, s := range list {
			go func() {
				_, err := r.askOnce(r.open, s.addr, question{".", dns.TypeNS}, way{plain: true})
				if spoke(err) {
					r.gate.heard()
				}
				if err == nil || ofName(err) {
					r.servers.well(s) // it was the name
				}
				ended <- struct{}{}
			}()
		}
		for range list {
			<-ended
		}
		r.gate.probed(count)
	})
}
