package guide

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// queueDirectory is where Debian's Postfix locks its services in (chroot).
const queueDirectory = "/var/spool/postfix/"

func postfix(m *mta) (Guide, error) {
	m.name, m.user = "Postfix", "postfix"
	if err := m.choose("milter", "policy", "socketmap", "tcp_table"); err != nil {
		return Guide{}, err
	}
	g := Guide{Title: "Postfix beside Backstop", About: aboutPostfix}
	steps := map[string]func() (Step, error){"milter": m.postfixMilter, "policy": m.postfixPolicy, "socketmap": m.postfixMaps, "tcp_table": m.postfixTable}
	for _, door := range m.use {
		step, err := steps[door]()
		if err != nil {
			return Guide{}, err
		}
		g.Steps = append(g.Steps, step)
	}
	if tagging, _ := m.tags(); tagging && m.uses("milter") {
		if err := m.postfixUntag(&g); err != nil {
			return Guide{}, err
		}
	}
	m.warnOfUntagged()
	g.Steps = append(g.Steps, typed("See what stands in its way", m.postfixInTheWay(),
		[]string{"postconf -n | grep -E 'milter|policy|restrictions|recipient|canonical|mynetworks|virtual'", "postconf relay_domains virtual_mailbox_domains mydestination"}),
		typed("Load it", "Backstop must be running with its new section by then.", []string{"postfix check", "postfix reload"}))
	return g, nil
}

const aboutPostfix = "Postfix keeps its ports, its queue and its configuration, and asks Backstop during the session. As a milter Backstop does all that it does as a gateway: recipients, forged senders, SPF, DMARC, " +
	"bounces, tags, seals. The policy service decides without the message; the maps only say who exists, and tag senders."

// postfixInTheWay says what to look for in Postfix's own configuration.
func (m *mta) postfixInTheWay() string {
	text := "reject_unverified_recipient comes out: Backstop has asked already, and Postfix's own questions would cost strangers a 450. " +
		"smtpd_reject_unlisted_recipient = no comes out too. What Postfix itself refuses it refuses before Backstop is asked: for a domain in virtual_mailbox_domains or mydestination its own list " +
		"(virtual_mailbox_maps, local_recipient_maps) decides first. Where that list has all users, it may stay; recipients of the domain are then the same list as a source (postmap:FILE, SQL, LDAP), or without batv \"anybody\"."
	text += " Backstop covers " + m.covered() + ": every other domain of relay_domains, virtual_mailbox_domains and mydestination is as it was, backscatter too, until it has a [[domain]]."
	if m.uses("milter") || m.uses("policy") {
		text += " Networks in mynetworks besides this machine belong into internal of [milter] as well: "
		if m.uses("milter") {
			text += "only what comes from there, or from who logs in, is taken for mail that leaves, tagged, sealed and signed."
		} else {
			text += "the policy service takes clients from there for your own, and not for strangers."
		}
	}
	return text
}

// postfixUntag takes tags off where Postfix checks recipients by a list of its own: it would refuse a bounce to a tag
// before the milter hears of it.
func (m *mta) postfixUntag(g *Guide) error {
	if m.door != "" || !m.has("socketmap") {
		what := "add [socketmap] and run this again, for lines that take the tag off"
		if m.has("socketmap") {
			what = "leave --door out, for lines by which [socketmap] takes the tag off"
		}
		m.mind("A domain has batv. If Postfix has a list of its users (virtual_mailbox_maps, local_recipient_maps, relay_recipient_maps), it refuses bounces to the tagged address before the milter hears of them: %s.", what)
		return nil
	}
	if d := m.tagsForAnybody(); d != "" {
		m.mind("A domain has batv, and if Postfix has a list of its users, it refuses bounces to the tagged address before the milter hears of them. A map that takes the tag off would let anybody pass that list, "+
			"for the recipients of %s are \"anybody\": name a source that knows the users, such as postmap:FILE, and run this again.", d)
		return nil
	}
	at, err := m.postfixAt("socketmap")
	if err != nil {
		return err
	}
	m.use = append(m.use, "socketmap")
	g.Steps = append(g.Steps, Step{Title: "Let bounces to tags pass Postfix's lists", File: "main.cf",
		Text: "At the end of /etc/postfix/main.cf, where Postfix has a list of the users (virtual_mailbox_maps, local_recipient_maps, relay_recipient_maps); elsewhere it does no harm.",
		Lines: []string{"# Postfix looks the address up without its tag (batv). Whether the tag is good the milter says.",
			"recipient_canonical_maps = socketmap:" + at + ":untag", "recipient_canonical_classes = envelope_recipient"}})
	return nil
}

// postfixPath is how Postfix, in its chroot or not, names a unix socket.
func (m *mta) postfixPath(path string) string {
	if in, ok := strings.CutPrefix(path, queueDirectory); ok {
		return in // from the queue directory, where each of its processes stands
	}
	m.warn = append(m.warn, fmt.Sprintf("%s is outside %s, where Debian locks Postfix in. Listen there (unix:%sbackstop/…), or on 127.0.0.1; "+
		"or write n into the fifth column (chroot) of smtpd and cleanup in master.cf.", path, queueDirectory, queueDirectory))
	return path
}

// postfixAt is a door as Postfix writes it: inet:HOST:PORT or unix:PATH.
func (m *mta) postfixAt(door string) (string, error) {
	p, err := m.reach(door)
	switch {
	case err != nil:
		return "", err
	case p.path != "":
		return "unix:" + m.postfixPath(p.path), nil
	}
	return "inet:" + p.hostPort(), nil
}

func (m *mta) postfixMilter() (Step, error) {
	at, err := m.postfixAt("milter")
	if err != nil {
		return Step{}, err
	}
	options, why := "default_action=tempfail", "# tempfail: while Backstop is away senders hear 451 and come again."
	if w := m.patience(); w > usualWait {
		options += ", command_timeout=" + seconds(w)
		why += " " + seconds(w) + ": a look-up may take " + seconds(m.slowest()) + "."
	}
	s := Step{Title: "Plug the milter in", File: "main.cf", Lines: []string{why, "smtpd_milters = { " + at + ", " + options + " }"}}
	s.Text = "At the end of /etc/postfix/main.cf. If there are other milters in smtpd_milters, put them on this line behind Backstop's, with a comma between."
	s.Lines = append(s.Lines, "# What local programs send leaves too, and is tagged and sealed.", "non_smtpd_milters = $smtpd_milters",
		"# Postfix's own bounces pass Backstop as well: to people who never wrote they do not leave.", "internal_mail_filter_classes = bounce")
	return s, nil
}

func inside(networks []netip.Prefix, addr string) bool {
	a := netip.MustParseAddr(addr)
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// policyWait is how long Postfix waits for a policy service (smtpd_policy_service_timeout).
const policyWait = 100 * time.Second

func (m *mta) postfixPolicy() (Step, error) {
	at, err := m.postfixAt("policy")
	if err != nil {
		return Step{}, err
	}
	service, why := at, ""
	if w := m.patience(); w > policyWait {
		service = "{ " + at + ", timeout=" + seconds(w) + " }"
		why = " " + seconds(w) + ": a look-up may take " + seconds(m.slowest()) + ", and Postfix waits 100s."
	}
	return Step{Title: "Plug the policy service in", File: "main.cf",
		Text: "At the end of /etc/postfix/main.cf. If smtpd_recipient_restrictions is there already, put check_policy_service with its address at the end of that instead. " +
			"While Backstop is away Postfix answers 451 by itself (smtpd_policy_service_default_action).",
		Lines: []string{
			"# Backstop comes last: your own users pass before it, and foreign domains are refused before it." + why,
			"smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination,",
			"    check_policy_service " + service,
		}}, nil
}

func (m *mta) postfixMaps() (Step, error) {
	at, err := m.postfixAt("socketmap")
	if err != nil {
		return Step{}, err
	}
	return m.mapStep("socketmap", func(name string) string { return "socketmap:" + at + ":" + name }, "recipients", "sign", "untag"), nil
}

func (m *mta) postfixTable() (Step, error) {
	p, err := m.reach("tcp_table")
	if err != nil {
		return Step{}, err
	}
	if p.path != "" {
		return Step{}, &hinted{"Postfix's tcp_table knows no unix sockets", `give [tcp_table] an address, such as listen = "127.0.0.1:10042"`}
	}
	return m.mapStep("tcp_table", func(string) string { return "tcp:" + p.hostPort() }, m.table), nil
}

// mapStep has the lines for maps: the recipients always, those of tags where a domain tags.
func (m *mta) mapStep(door string, table func(name string) string, maps ...string) Step {
	s := Step{Title: "Plug the maps in", File: "main.cf", Text: "At the end of /etc/postfix/main.cf; each parameter may stand there once. A table that is there already can stay, behind Backstop's."}
	if m.uses("socketmap") && door == "tcp_table" && m.table == "recipients" {
		s.Text += " Once is enough: [socketmap] answers the same."
	}
	tagging, guarded := m.tags()
	for _, name := range maps {
		switch {
		case name == "recipients":
			s.Lines = append(s.Lines, "# Postfix refuses whom Backstop does not know. For a domain in virtual_mailbox_domains write",
				"# virtual_mailbox_maps, for one in mydestination local_recipient_maps.", "relay_recipient_maps = "+table(name))
			m.warnOfStrangeDomains(table(name))
		case name == "sign" && (tagging || door == "tcp_table"):
			s.Lines = append(s.Lines, signWarning(guarded), "sender_canonical_maps = "+table(name), "sender_canonical_classes = envelope_sender")
		case name == "untag" && (tagging || door == "tcp_table"):
			s.Lines = append(s.Lines, "# Bounces come to the tagged address; it is taken off before delivery.", "recipient_canonical_maps = "+table(name), "recipient_canonical_classes = envelope_recipient")
		}
	}
	if tagging && !guarded && slices.Contains(maps, "sign") {
		m.warn = append(m.warn, `Postfix tags every sender of a domain with batv, a stranger's too, who then gets a genuine tag: refuse strangers who claim it (forged = "refuse", and the lines of [policy]), tag at your own ports alone (master.cf: docs/postfix.md), or use the milter, which tells them apart.`)
	}
	return s
}

// warnOfStrangeDomains: for a domain that Backstop does not know the map says that nobody is there.
func (m *mta) warnOfStrangeDomains(table string) {
	if len(m.use) > 1 && m.uses("socketmap") && strings.HasPrefix(table, "tcp:") {
		return // said of the other one
	}
	m.mind("Backstop's map knows %s. Postfix refuses every user of any other domain in relay_domains for good (550), unless a table behind it has them: "+
		"relay_recipient_maps = %s, hash:/etc/postfix/relay_recipients, with a line such as \"@example.net OK\" there.", m.covered(), table)
}

func signWarning(guarded bool) string {
	if guarded {
		return "# Senders leave with a tag (batv). Strangers who claim them are refused before (forged)."
	}
	return "# Senders leave with a tag (batv). Postfix cannot tell strangers who claim them: see the warning."
}

// warnOfUntagged tells where tags are wanted and nothing puts them on.
func (m *mta) warnOfUntagged() {
	if tagging, _ := m.tags(); tagging && !m.uses("milter") && !m.uses("socketmap") && !m.uses("tcp_table") {
		m.warn = append(m.warn, "A domain has batv, and by the policy service nothing is tagged: use the milter, or add [socketmap] for the map sign.")
	}
}
