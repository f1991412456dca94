package guide

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"backstop/internal/config"
	"backstop/internal/listen"
)

// doors are where an MTA beside Backstop can ask, as the configuration has them.
type doors struct {
	listen   map[string]listen.Spec // by section; the zero Spec: there is no such door
	internal []netip.Prefix         // of [milter]
	table    string                 // the map of [tcp_table]
	smtp     []listen.Spec          // the front, which wants port 25 as well
}

// doorsOf is the one place where the configuration's doors are read. nil: there are none.
func doorsOf(c *config.Config) doors {
	if c == nil {
		return doors{internal: loopback(), table: config.MapRecipients.String()}
	}
	return doors{
		listen: map[string]listen.Spec{
			"milter": c.Milter.Listen, "policy": c.Policy.Listen, "socketmap": c.Socketmap.Listen,
			"tcp_table": c.TCPTable.Listen, "panel": c.Panel.Listen,
		},
		internal: c.Milter.Internal, table: c.TCPTable.Map.String(), smtp: c.SMTP.Listen,
	}
}

func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// usual are the ports that INTERFACE and the reference have in their examples.
var usual = map[string]string{"milter": "8891", "policy": "10040", "socketmap": "10041", "tcp_table": "10042", "panel": "8025"}

// mta is what the guide of an MTA beside Backstop is made from.
type mta struct {
	site
	doors
	name   string   // as people write it: Postfix
	user   string   // who opens its connections
	told   string   // --gateway: Backstop's address on another machine; "": this machine
	door   string   // --door
	use    []string // the doors that the lines plug into
	asks   []string // the doors at which it may be asking
	config strings.Builder
	warn   []string

	doorless bool         // Place.Doorless
	local    []netip.Addr // Place.Local
	hostname string       // of the configuration
}

// forMTA makes the guide of an MTA.
func (p *Place) forMTA(product string, makes func(*mta) (Guide, error)) (Guide, error) {
	m := &mta{doors: doorsOf(p.Config), told: p.Gateway, door: p.Door, doorless: p.Doorless, local: p.Local}
	m.options = p.Options
	if p.Config == nil {
		if err := p.example(&m.site, "store"); err != nil {
			return Guide{}, err
		}
	} else if err := p.find(&m.site); err != nil {
		return Guide{}, err
	} else {
		m.hostname = p.Config.Hostname
	}
	g, err := makes(m)
	if err != nil {
		return Guide{}, err
	}
	m.warnOfCircles()
	m.warnOfPorts()
	m.warnOfOthers()
	g.Asks, g.Unix = m.asks, slices.DeleteFunc(slices.Clone(m.asks), func(d string) bool { return m.listen[d].Network != "unix" })
	g.beside, g.Name, g.Doors, g.Warnings = true, m.name, m.use, m.warn
	g.Config = m.config.String()
	if p.Config == nil {
		d := &m.domains[0]
		g.Config = fmt.Sprintf("%s%s\n[[domain]]\nname       = %q\nrecipients = [\"callahead:%s\"]\n", m.own, g.Config, d.Name, d.Relay.String())
	}
	g.Tests = m.verify(product)
	g.finish(product, p, m.domains)
	return g, nil
}

// has says whether the configuration has this door.
func (m *mta) has(door string) bool { return m.listen[door] != listen.Spec{} }

// choose decides which doors are used: the one that is asked for; the first, which can do all of it,
// where it is there or nothing else is; else all others that are there.
func (m *mta) choose(can ...string) error {
	switch {
	case m.door != "" && !slices.Contains(can, m.door):
		return &hinted{fmt.Sprintf("%s does not ask at a door %q", m.name, m.door), "it can be plugged into " + strings.Join(can, ", ")}
	case m.door != "":
		m.use = []string{m.door}
	case !m.has(can[0]):
		for _, d := range can[1:] {
			if m.has(d) {
				m.use = append(m.use, d)
			}
		}
	}
	if m.use == nil {
		m.use = can[:1]
	}
	for _, d := range can {
		if m.door == "" && m.has(d) {
			m.asks = append(m.asks, d)
		}
	}
	if m.asks == nil {
		m.asks = m.use
	}
	m.use, m.asks = slices.Clone(m.use), slices.Clone(m.asks)
	return nil
}

func (m *mta) uses(door string) bool { return slices.Contains(m.use, door) }

// peer is where a door is for the MTA: a host and its port, or the path of a unix socket.
type peer struct{ host, port, path string }

// hostPort is HOST:PORT, an IPv6 address in brackets.
func (p peer) hostPort() string { return net.JoinHostPort(p.host, p.port) }

// reach says where the MTA finds a door. One that the configuration lacks is written into what it needs.
func (m *mta) reach(door string) (peer, error) {
	spec := m.listen[door]
	here := peer{host: "127.0.0.1", port: usual[door]}
	if m.told != "" {
		here.host = m.told
	}
	switch spec.Network {
	case "":
		m.section(door, here)
		return here, nil
	case "systemd":
		m.warn = append(m.warn, fmt.Sprintf("systemd opens the socket of [%s]: write the ListenStream= of its .socket unit where these lines have %s.", door, here.hostPort()))
		return here, nil
	case "unix":
		if m.told != "" {
			return peer{}, &hinted{fmt.Sprintf("[%s] listens on a unix socket, which %s on another machine cannot reach", door, m.name), "leave --gateway out, or let it listen on " + here.hostPort()}
		}
		m.warnOfSocket(door, spec)
		return peer{path: spec.Address}, nil
	}
	return m.reachTCP(door, spec, here)
}

func (m *mta) reachTCP(door string, spec listen.Spec, here peer) (peer, error) {
	host, port, err := net.SplitHostPort(spec.Address)
	if err != nil {
		return peer{}, fmt.Errorf("[%s] listens on %s: %w", door, spec, err)
	}
	here.port = port
	ip, err := netip.ParseAddr(host)
	local := host == "localhost" || err == nil && ip.IsLoopback()
	switch {
	case host == "" || err == nil && ip.IsUnspecified():
		if m.told == "" && err == nil && ip.Is6() {
			here.host = "::1"
		}
		return here, nil
	case local && m.told != "" && !loopbackName(m.told):
		return peer{}, &hinted{fmt.Sprintf("[%s] listens on %s, which reaches no other machine", door, spec), fmt.Sprintf("let it listen on %s, or leave --gateway out", net.JoinHostPort(m.told, port))}
	}
	here.host = host
	return here, nil
}

func loopbackName(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// section adds a section that the configuration lacks.
func (m *mta) section(door string, at peer) {
	spec := at.hostPort()
	switch {
	case door == "milter" && strings.Contains(at.host, ":"):
		spec = "inet6:" + spec
	case door == "milter":
		spec = "inet:" + spec
	}
	if m.config.Len() > 0 {
		m.config.WriteString("\n")
	}
	fmt.Fprintf(&m.config, "[%s]\nlisten = %q\n", door, spec)
	if door == "milter" {
		m.config.WriteString("internal = [\"127.0.0.0/8\", \"::1\"]   # whose mail leaves: add your networks\n")
	}
	if door == "panel" && m.told != "" {
		fmt.Fprintf(&m.config, "lookup_clients = [%q]   # the address of %s\n", exampleMTA, m.name)
	}
}

// exampleMTA stands for the address of a server on another machine.
const exampleMTA = "192.0.2.30"

// What a look-up may take besides its sources, and how long an MTA waits for a filter that says nothing else.
const (
	aboutSender = 10 * time.Second // SPF, whose time internal/auth has
	usualWait   = 30 * time.Second
)

// slowest is how long the answer about one recipient may take: his sources are asked one after another.
func (m *mta) slowest() time.Duration {
	longest := time.Duration(0)
	for i := range m.domains {
		sum := time.Duration(0)
		for j := range m.domains[i].Sources {
			sum += wait(&m.domains[i].Sources[j])
		}
		longest = max(longest, sum)
	}
	if longest == 0 && len(m.domains) == 1 && m.domains[0].Sources == nil { // an example: its relay is asked
		longest = 20 * time.Second
	}
	return longest + aboutSender
}

// wait is how long one source may take. What is in memory takes no time.
func wait(s *config.Source) time.Duration {
	asked := func(a *config.Asked) time.Duration {
		if a.Sync {
			return 0
		}
		return a.Timeout
	}
	switch s.Kind {
	case config.SourceCallahead:
		return s.Callahead.Timeout
	case config.SourceLDAP:
		return asked(&s.LDAP.Asked)
	case config.SourceSQL:
		return asked(&s.SQL.Asked)
	case config.SourceHTTP:
		return asked(&s.HTTP.Asked)
	}
	return 0
}

// patience is how long the MTA must wait for an answer, in steps of half a minute.
func (m *mta) patience() time.Duration {
	return (m.slowest()/usualWait + 1) * usualWait
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }

// signs says that a domain signs its mail (DKIM).
func (m *mta) signs() bool {
	return slices.ContainsFunc(m.domains, func(d config.Domain) bool {
		return slices.ContainsFunc(d.DKIM, func(k config.DKIMKey) bool { return k.Sign })
	})
}

// verify is the test at the end.
func (m *mta) verify(product string) []Step {
	text := "No mail is sent: the conversation ends after RCPT."
	if m.uses("policy") || m.uses("panel") {
		text += " Name the server as strangers reach it: who comes through 127.0.0.1 is taken for one of its own, and passes before Backstop is asked."
	}
	return []Step{typed("Test it", text, []string{"backstop setup " + product + " --verify mx." + m.domains[0].Name + m.options})}
}
