package guide

import (
	"slices"
	"strings"
)

const aboutSendmail = "Sendmail keeps its ports, its queue and its configuration, and asks Backstop as a milter during the session: recipients, forged senders, SPF, DMARC, bounces, tags, seals. " +
	"One line in sendmail.mc, and a few more where mail is signed or tagged."

func sendmail(m *mta) (Guide, error) {
	m.name, m.user = "Sendmail", "smmta"
	if err := m.choose("milter"); err != nil {
		return Guide{}, err
	}
	at, err := m.sendmailAt()
	if err != nil {
		return Guide{}, err
	}
	wait := seconds(m.patience())
	g := Guide{Title: "Sendmail beside Backstop", About: aboutSendmail}
	g.Steps = []Step{
		{Title: "Plug the milter in", File: "sendmail.mc",
			Text: "In /etc/mail/sendmail.mc, above the lines with MAILER. Filters are asked in the order of their lines. A define of confINPUT_MAIL_FILTERS further down would replace them all.",
			Lines: []string{
				"dnl # F=T: while Backstop is away senders hear 451 and come again; without F= all mail would pass unseen.",
				"dnl # R:" + wait + ": a look-up may take " + seconds(m.slowest()) + ", and Sendmail waits 10s.",
				"INPUT_MAIL_FILTER(`backstop', `S=" + at + ", F=T, T=C:10s;S:30s;R:" + wait + ";E:5m')dnl",
			}},
		typed("See what stands in its way", "Sendmail's own rules come first: a domain that it does not deliver or relay (local-host-names, relay-domains, To:…RELAY in access) is refused before Backstop is asked, "+
			"and so is whom a To: line in access refuses. Lines that listed all users by hand can go. "+
			"Backstop covers "+m.covered()+": every other domain there is as it was, until it has a [[domain]]. Networks that may relay besides this machine belong into internal of [milter] as well: "+
			"only what comes from there, or from who logs in, is taken for mail that leaves, tagged, sealed and signed. No confMILTER_MACROS_ line is needed: the defaults have what Backstop reads.", nil),
		typed("Load it", "Backstop must be running with its new section by then. (Where /etc/mail has no Makefile: m4 sendmail.mc > sendmail.cf.)",
			[]string{"make -C /etc/mail", "systemctl restart sendmail"}),
	}
	if m.signs() {
		g.Steps[0].Lines = append(g.Steps[0].Lines, "dnl # Or Sendmail breaks long lines behind the milter, and their DKIM signature with them.",
			"define(`SMTP_MAILER_LL', `0')dnl", "define(`RELAY_MAILER_LL', `0')dnl")
	}
	if tagging, _ := m.tags(); tagging {
		g.Steps = slices.Insert(g.Steps, 1, sendmailUntag())
	}
	if !inside(m.internal, "127.0.0.1") {
		m.warn = append(m.warn, "[milter] internal does not have 127.0.0.1: what local programs send is handed to Sendmail from there, and would be judged as mail from outside.")
	}
	return g, nil
}

// sendmailUntag lets Sendmail look users of its own up without the tag: it would refuse a bounce to a tag before the
// milter hears of it. The map gives back what it does not match.
func sendmailUntag() Step {
	return Step{Title: "Let bounces to tags pass Sendmail's own users", File: "sendmail.mc",
		Text: "Below that line, for domains whose users are Sendmail's own (local-host-names); elsewhere it does no harm. In the last line a tab stands before \"$:\". If there is a LOCAL_CONFIG or LOCAL_RULE_0 already, put the lines there.",
		Lines: []string{
			"dnl # Sendmail looks the address up without its tag (batv). Whether the tag is good the milter says.",
			"LOCAL_CONFIG",
			"Kuntag regex -s1 ^prvs=[0-9]{4}[0-9a-fA-F]{6}=(.+)",
			"LOCAL_RULE_0",
			"R$+ < @ $=w . >\t$: $(untag $1 $) < @ $2 . >",
		}}
}

// sendmailAt is the milter as Sendmail writes it: inet:PORT@HOST, or local:PATH.
func (m *mta) sendmailAt() (string, error) {
	p, err := m.reach("milter")
	switch {
	case err != nil:
		return "", err
	case p.path != "":
		m.warn = append(m.warn, "Sendmail does not start if anybody may write to a folder on the way to the socket; one below /run is right.")
		return "local:" + p.path, nil
	case strings.Contains(p.host, ":"):
		return "inet6:" + p.port + "@" + p.host, nil
	}
	return "inet:" + p.port + "@" + p.host, nil
}
