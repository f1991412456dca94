package guide

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	"backstop/internal/config"
	"backstop/internal/evidence"
	"backstop/internal/listen"
	"backstop/internal/route"
)

// mind adds a warning.
func (m *mta) mind(format string, args ...any) { m.warn = append(m.warn, fmt.Sprintf(format, args...)) }

// tags says whether any of the domains tags its senders, and whether strangers who claim such a domain are refused
// by the lines that are printed: what else the configuration has need not be plugged in.
func (m *mta) tags() (any, guarded bool) {
	guarded = m.uses("policy")
	for i := range m.domains {
		if d := &m.domains[i]; d.Guards.Tags != evidence.TagOff {
			any, guarded = true, guarded && d.Forged
		}
	}
	return any, guarded
}

// tagsForAnybody is a domain that tags and takes everybody for a user, "" where there is none. Postfix takes whoever a
// canonical map has for existing, and asks its own lists no more.
func (m *mta) tagsForAnybody() string {
	for i := range m.domains {
		d := &m.domains[i]
		if d.Guards.Tags != evidence.TagOff && slices.ContainsFunc(d.Sources, func(s config.Source) bool { return s.Kind == config.SourceAnybody }) {
			return d.Name
		}
	}
	return ""
}

// warnOfCircles finds domains whose recipients are asked of this very MTA: each would wait for the other.
func (m *mta) warnOfCircles() {
	for i := range m.domains {
		d := &m.domains[i]
		for j := range d.Sources {
			if s := &d.Sources[j]; s.Kind == config.SourceCallahead && m.isThis(s.Callahead.Target) {
				m.mind("%s asks %s who exists. If that is this %s, each asks the other and mail is deferred: "+
					"name a source that knows the users itself, such as list:FILE or the server behind.", d.Name, s.Callahead.Target.String(), m.name)
			}
		}
	}
}

// isThis says whether a server is on this machine at the port that the MTA has, as far as its name tells: names are not looked up.
func (m *mta) isThis(r route.Relay) bool {
	if r.Scheme != route.SMTP || r.Port != 25 || m.told != "" {
		return false
	}
	ip, err := netip.ParseAddr(r.Host)
	return loopbackName(r.Host) || r.Host == m.hostname || err == nil && slices.Contains(m.local, ip.Unmap())
}

// warnOfPorts finds a front of ours where the MTA has its own. Without a door beside it the front is
// the default, which such a door takes away; [panel] does not.
func (m *mta) warnOfPorts() {
	if !m.has("milter") && !m.has("policy") && !m.has("socketmap") && !m.has("tcp_table") && !(m.uses("panel") && m.has("panel")) {
		return
	}
	for _, s := range m.smtp {
		_, port, _ := net.SplitHostPort(s.Address)
		if port == "25" && m.told == "" {
			m.warn = append(m.warn, fmt.Sprintf("[smtp] listens on %s, and so does %s, probably: with listen = [] Backstop leaves port 25 to it.", s, m.name))
		}
	}
}

// warnOfSocket says what a unix socket needs: its folder, and a mode that lets the MTA's user in.
func (m *mta) warnOfSocket(door string, spec listen.Spec) {
	m.mind("The folder %s must be there before Backstop starts, and Backstop's user must be able to write to it; systemd's unit allows that by ReadWritePaths=%[1]s alone.", path.Dir(spec.Address))
	if spec.Mode&0o006 != 0o006 {
		m.mind("The user %s must be able to open the socket of [%s]: by ?mode=0666, or by ?mode=0660 and a group in which both are.", m.user, door)
	}
}

// warnOfOthers names the doors that the configuration has and that these lines leave alone.
func (m *mta) warnOfOthers() {
	others := slices.DeleteFunc(slices.Clone(m.asks), m.uses)
	if len(others) == 0 {
		return
	}
	for i, d := range others {
		others[i] = "[" + d + "]"
	}
	they := "It is"
	if len(others) > 1 {
		they = "They are"
	}
	m.mind("%s: in the configuration too, and not in these lines, for the milter does all that is needed. %s printed with --door NAME.", strings.Join(others, ", "), they)
}

// covered names the domains about which Backstop knows.
func (m *mta) covered() string { return strings.Join(m.names(), ", ") }
