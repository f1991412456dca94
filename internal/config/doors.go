package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"backstop/internal/listen"
)

// Milter is the door for MTAs that speak the milter protocol.
type Milter struct {
	Listen   listen.Spec    // the zero Spec: there is no such door
	Internal []netip.Prefix // whose mail is ours and leaves
}

// Policy is the door for Postfix's policy delegation.
type Policy struct {
	Listen listen.Spec // the zero Spec: there is no such door
}

// Socketmap is the door for Postfix's and Sendmail's socketmaps.
type Socketmap struct {
	Listen listen.Spec // the zero Spec: there is no such door
}

// TCPTable is the door for Postfix's tcp_table, which knows one map.
type TCPTable struct {
	Listen listen.Spec // the zero Spec: there is no such door
	Map    MapName
}

// MapName is one of the maps that are asked by address.
type MapName uint8

const (
	MapRecipients MapName = iota // who exists
	MapSign                      // a sender with his tag
	MapUntag                     // a recipient without his
)

var mapNames = []string{"recipients", "sign", "untag"}

func (m MapName) String() string { return mapNames[m] }

// loopbackOnly are this machine's own addresses.
const loopbackOnly = `["127.0.0.0/8", "::1"]`

const listenDoc = "Where to listen: `HOST:PORT`, `unix:/PATH?mode=0660` or `systemd:NAME`; written as the MTA writes it (`inet:…`, `local:…`) too."

func (m *Milter) keys(d *decoder) []key {
	return []key{
		{name: "listen", def: `""`, set: d.marked("milter.listen", door(&m.Listen, "127.0.0.1:8891")),
			doc: "Where to listen, as the MTA's own line has it: `inet:HOST:PORT` (or `inet:PORT@HOST`), `inet6:`, `unix:/PATH?mode=0660`, or `systemd:NAME`. `\"\"` is off."},
		{name: "internal", def: loopbackOnly, set: networks(&m.Internal, "mail of strangers would be tagged and signed as yours"),
			doc: "Networks of your own servers and users. Their mail, and that of whoever logs in at the MTA, leaves: it is tagged, sealed and signed, and its bounces are judged. All other mail comes in. A proxy before the MTA that hides its clients' addresses must not be among them. They are no outsiders at `[policy]` and `/api/v1/lookup` either, whether or not `[milter]` listens: what `forged` and `spf` refuse holds for others."},
	}
}

func (p *Policy) keys(d *decoder) []key {
	return []key{{name: "listen", def: `""`, set: d.marked("policy.listen", door(&p.Listen, "127.0.0.1:10040")), doc: listenDoc + " `\"\"` is off."}}
}

func (s *Socketmap) keys(d *decoder) []key {
	return []key{{name: "listen", def: `""`, set: d.marked("socketmap.listen", door(&s.Listen, "127.0.0.1:10041")),
		doc: listenDoc + " The maps are `recipients` (who exists), `sign` (a sender with his tag) and `untag` (a recipient without it). `\"\"` is off."}}
}

func (t *TCPTable) keys(d *decoder) []key {
	return []key{
		{name: "listen", def: `""`, set: d.marked("tcp_table.listen", door(&t.Listen, "127.0.0.1:10042")), doc: listenDoc + " `\"\"` is off."},
		{name: "map", def: `"recipients"`, set: choice(&t.Map, mapNames...), doc: "Which of the maps of `[socketmap]` is asked: this protocol has no name for one."},
	}
}

// door takes the listener of a door beside an MTA; "" is none. The example is a usual address.
func door(dst *listen.Spec, example string) setter {
	parse := func(s string) (listen.Spec, error) { return parseDoor(s, example) }
	return func(d *decoder, n *node) {
		*dst = listen.Spec{}
		if n.kind == kindText && n.text == "" {
			return
		}
		s, ok := d.socketAs(n, parse)
		*dst, d.lost = s, d.lost || !ok
	}
}

// parseDoor reads a socket as milters are named, since whoever copies it from the MTA's configuration has it in that form:
// inet:HOST:PORT, inet:PORT@HOST, inet6:…, unix:PATH or local:PATH.
func parseDoor(s, example string) (listen.Spec, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	switch scheme {
	case "inet", "inet6":
	case "local":
		return listen.Parse("unix:" + rest)
	default:
		if _, err := strconv.ParseUint(s, 10, 16); err == nil {
			return listen.Spec{}, hinted{fmt.Sprintf("%q names no host", s), "write 127.0.0.1:" + s}
		}
		return listen.Parse(s)
	}
	if port, host, ok := strings.Cut(rest, "@"); ok {
		rest = net.JoinHostPort(strings.Trim(host, "[]"), port)
	} else if _, err := strconv.ParseUint(rest, 10, 16); err == nil {
		return listen.Spec{}, hinted{fmt.Sprintf("%q names no host", s), "write inet:127.0.0.1:" + rest}
	}
	spec, err := listen.Parse(rest)
	if err != nil {
		return listen.Spec{}, hinted{fmt.Sprintf("%q is not inet:HOST:PORT, unix:/PATH or systemd:NAME", s), `write "inet:` + example + `"`}
	}
	host, _, _ := net.SplitHostPort(spec.Address)
	a, err := netip.ParseAddr(host)
	switch {
	case scheme == "inet6" && err == nil && a.Is4():
		return listen.Spec{}, hinted{fmt.Sprintf("%q: %s is an IPv4 address", s, host), "write inet: before it"}
	case scheme == "inet6" && err != nil:
		spec.Network = "tcp6"
	case scheme == "inet" && err != nil:
		spec.Network = "tcp4"
	}
	return spec, nil
}

// Sends says that mail of our own leaves through one of the doors, where it is tagged, sealed and signed.
func (c *Config) Sends() bool { return c.Outbound != nil || c.Milter.Listen != (listen.Spec{}) }

// Tags says that senders are given tags: where mail leaves, or where an MTA asks for them.
func (c *Config) Tags() bool {
	return c.Sends() || c.Socketmap.Listen != (listen.Spec{}) || c.TCPTable.Listen != (listen.Spec{}) && c.TCPTable.Map == MapSign
}

// checkDoors looks at the doors beside an MTA.
func (c *Config) checkDoors(d *decoder) {
	any := false
	for _, l := range []struct {
		name string
		spec listen.Spec
	}{{"milter", c.Milter.Listen}, {"policy", c.Policy.Listen}, {"socketmap", c.Socketmap.Listen}, {"tcp_table", c.TCPTable.Listen}} {
		if l.spec == (listen.Spec{}) {
			continue
		}
		any = true
		if s := l.spec; s.Network == "unix" && s.Mode&0o022 == 0 {
			d.warn(d.places[l.name+".listen"], "write ?mode=0666, in a folder that only the MTA may enter, or ?mode=0660 and put both into one group", "listen: only root and the user that backstop runs as may open %s, and Postfix is neither", s)
		}
		if s := l.spec; s.Network != "unix" && s.Network != "systemd" && !private(hostOf(s.Address)) {
			d.warn(d.places[l.name+".listen"], "listen on 127.0.0.1, or keep strangers out by other means", "listen: nobody logs in at %s, so everybody who reaches it can ask who exists", s)
		}
	}
	if at := d.places["milter.listen"]; c.Milter.Listen != (listen.Spec{}) && c.Outbound == nil {
		c.checkState(d, at, "[milter]")
		c.checkKept(d, at, "[milter]")
	}
	if any && d.places["smtp.listen"].line == 0 {
		c.SMTP.Listen = nil // the MTA has port 25
	}
	if len(c.SMTP.Listen) > 0 || any || c.Outbound != nil || c.Panel.Listen != (listen.Spec{}) { // Exim asks at the panel
		return
	}
	if at := d.places["smtp.listen"]; at.line > 0 && len(d.problems) == 0 {
		d.fail(at, `write listen = [":25"], or name a door beside an MTA such as [milter]`, "listen: there is no listener, so no mail could come")
	}
}

// hostOf is the address of HOST:PORT as a network of its own; a name is nobody's.
func hostOf(hostport string) netip.Prefix {
	host, _, _ := net.SplitHostPort(hostport)
	if host == "localhost" {
		host = "127.0.0.1"
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}
