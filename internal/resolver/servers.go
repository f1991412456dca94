package resolver

import (
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	lookEvery  = 5 * time.Second  // so often is resolv.conf looked at, if anybody asks
	shunnedFor = 30 * time.Second // so long a server that failed is asked last
	maxFile    = 64 << 10
	maxServers = 8 // that are taken from resolv.conf; libraries take three
)

// servers are whom to ask.
type servers struct {
	file   string // ""; those of the configuration, for good
	now    func() time.Time
	logger *slog.Logger

	mu     sync.Mutex
	list   []*server
	looked time.Time
	text   string // of the file, when it was last looked at
	fault  string // why the file is not in force
}

// server is one of them. Its fields are guarded by the mutex of servers.
type server struct {
	addr    netip.AddrPort
	shunned time.Time // asked last until then
	since   time.Time // it fails since then; zero: it does not
	last    string    // why
	plain   bool      // it does not give back the letters of a question
}

func newServers(c Config) *servers {
	s := &servers{now: c.Now, logger: c.Logger}
	for _, a := range c.Servers {
		s.list = append(s.list, &server{addr: a})
	}
	if len(c.Servers) == 0 {
		s.file = c.File
		s.look()
	}
	return s
}

// order is whom to ask, in turn: as configured, but those last that failed a short while ago.
func (s *servers) order() []*server {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.file != "" && now.Sub(s.looked) >= lookEvery {
		s.look()
	}
	list := slices.Clone(s.list)
	slices.SortStableFunc(list, func(a, b *server) int {
		return rank(a, now) - rank(b, now)
	})
	return list
}

func rank(s *server, now time.Time) int {
	if now.Before(s.shunned) {
		return 1
	}
	return 0
}

// look reads the file again; s.mu is held, or nobody else has s yet.
func (s *servers) look() {
	s.looked = s.now()
	text, err := readFile(s.file)
	if err == nil && text == s.text && s.list != nil {
		return
	}
	s.text = text
	addrs := nameservers(text)
	fault := ""
	switch {
	case err != nil:
		fault = err.Error()
	case len(addrs) == 0:
		fault = s.file + " names no server"
	}
	if fault != "" {
		if fault != s.fault {
			s.logger.Warn("the list of DNS servers cannot be used: those known are asked on", "file", s.file, "error", fault)
		}
		s.fault = fault
		if s.list == nil { // resolv.conf(5): the one on this machine
			s.list = []*server{{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}}
		}
		return
	}
	s.fault = ""
	if s.list != nil {
		s.logger.Info("other DNS servers are asked from now on", "file", s.file, "servers", addrs)
	}
	s.list = s.replaced(addrs)
}

// replaced makes the list of these addresses, and keeps what is known of those that stay.
func (s *servers) replaced(addrs []netip.AddrPort) []*server {
	list := make([]*server, len(addrs))
	for i, a := range addrs {
		list[i] = &server{addr: a}
		if j := slices.IndexFunc(s.list, func(o *server) bool { return o.addr == a }); j >= 0 {
			list[i] = s.list[j]
		}
	}
	return list
}

func readFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return string(b), err
}

// nameservers reads the nameserver lines of a resolv.conf(5).
func nameservers(text string) []netip.AddrPort {
	var list []netip.AddrPort
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" || len(list) == maxServers {
			continue
		}
		ip, err := netip.ParseAddr(f[1])
		if err != nil {
			continue
		}
		if a := netip.AddrPortFrom(ip.Unmap(), 53); !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// well notes that the server answered as it should.
func (s *servers) well(one *server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.shunned, one.since, one.last = time.Time{}, time.Time{}, ""
}

// failed notes that it did not.
func (s *servers) failed(one *server, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if one.since.IsZero() {
		one.since = now
	}
	one.shunned, one.last = now.Add(shunnedFor), why
}

func (s *servers) isPlain(one *server) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return one.plain
}

func (s *servers) setPlain(one *server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.plain = true
}
