package scan

import (
	"fmt"
	"slices"
	"strings"

	"backstop/internal/bounce"
)

// noteMixed tells of a server that accepts some who cannot exist and refuses others.
func (f *facts) noteMixed() string {
	list := f.telling(f.latest())
	yes, no := count(list)
	if yes == 0 || no == 0 {
		return ""
	}
	var took, refused []string
	senders := map[bool]map[bool]bool{true: {}, false: {}} // null sender -> accepted
	for _, a := range list {
		shape := string(a.shape)
		if a.null {
			shape += " (null sender)"
		}
		if a.result == accepted {
			took = append(took, shape)
		} else {
			refused = append(refused, shape)
		}
		senders[a.null][a.result == accepted] = true
	}
	text := fmt.Sprintf("It is not of one mind: of %d addresses that nobody can have it accepted %d (%s) and refused %d (%s).", yes+no, yes, strings.Join(took, ", "), no, strings.Join(refused, ", "))
	switch {
	case len(senders[true]) == 1 && len(senders[false]) == 1:
		return text + " Its answer goes by the sender: what is refused for one of them is accepted for the other."
	case slices.ContainsFunc(took, func(s string) bool { return strings.HasPrefix(s, string(ShapeTag)) }) && yes == 1:
		return text + " Only the address with a +tag was accepted: tags seem to be taken for anybody."
	}
	return text + " It may accept the first of a session only, know patterns instead of people, or be several servers behind one name. It counts as one that accepts, since some are accepted."
}

// noteSenders tells of a sender that was refused as such.
func (f *facts) noteSenders() string {
	null, other := f.groups(f.latest())
	switch {
	case null.refusesAll() && len(other.telling()) > 0 && !other.refusesAll():
		a := null.unknown[0]
		if a.result == barred {
			return "It refuses the null sender <> (" + sayResponse(&a.mail) + "), from which all bounces come (RFC 5321, 4.5.5): its users never learn that their mail did not arrive. What it said to an ordinary sender counts here."
		}
		return "From the null sender it refuses everybody, also the postmaster (" + sayResponse(&a.rcpt) + "), as servers do that know a bounce of their own mail by its tag (BATV). What it said to an ordinary sender counts here."
	case other.refusesAll() && len(null.telling()) > 0 && !null.refusesAll():
		return "It refuses our sender (" + sayResponse(other.unknown[0].answer()) + "); what it said to the null sender counts here. --from with an address that can be written to tells more."
	}
	return ""
}

// notePostmaster tells of a postmaster who is refused though others are not refused as senders.
func (f *facts) notePostmaster() string {
	yes, no := count(f.telling(f.latest()))
	_, other := f.groups(f.latest())
	if p := &other.postmaster; p.result == missing && yes+no > 0 {
		return "It refuses the postmaster, too (" + sayResponse(&p.rcpt) + "), whom every domain has to take mail for (RFC 5321, 4.5.1). If other addresses of " + f.domain + " are refused as well, it is not the server of that domain."
	}
	return ""
}

// noteHub compares Exchange's ports.
func (f *facts) noteHub() string {
	if !f.hubAsked {
		return ""
	}
	if len(f.hub) == 0 {
		return "It looks like Exchange, whose hub answers truthfully on port 2525; from here that port cannot be reached, as it should be. Ask from inside: `backstop scan smtp://" + f.serverName() + ":2525 --domain " + f.domain + "`."
	}
	switch u := f.hub[0]; {
	case u.result == missing, u.result == denied && len(f.hub) > 1 && f.hub[1].result == accepted && !u.aboutUs(nil, f.client):
		return "Port 2525, its hub, refuses unknown recipients at RCPT (" + sayResponse(u.answer()) + "): name it as Backstop's source, recipients = [\"callahead:smtp://" + f.serverName() + ":2525\"]. Close it to the outside."
	case u.result == accepted:
		return "Port 2525, its hub, accepts unknown recipients as well (" + sayResponse(u.answer()) + "): the recipient filter is not switched on, or the domain is not authoritative."
	default:
		return "Port 2525, its hub, does not say (" + sayResponse(u.answer()) + ")."
	}
}

// noteSlow tells of answers that take their time.
func (f *facts) noteSlow() string {
	var unknown, known, n, m int64
	for i := range f.asked {
		a := &f.asked[i]
		switch ms := a.took.Milliseconds(); {
		case a.result == unasked:
		case a.shape == ShapeForeign:
		case a.shape == ShapePostmaster:
			known, m = known+ms, m+1
		default:
			unknown, n = unknown+ms, n+1
		}
	}
	seconds := func(sum, of int64) string { return fmt.Sprintf("%.1f s", float64(sum)/float64(max(of, 1))/1000) }
	var parts []string
	if f.greeted >= slow {
		parts = append(parts, fmt.Sprintf("It holds its banner back for %.1f s, to see who talks before it.", f.greeted.Seconds()))
	}
	if n > 0 && unknown/n >= slow.Milliseconds() {
		parts = append(parts, "It answers slowly: unknown recipients "+seconds(unknown, n)+" on the average, the postmaster "+seconds(known, m)+". That is a tarpit against harvesting, or a look-up that takes its time; whoever asks it (call-ahead) needs that patience.")
	}
	return strings.Join(parts, " ")
}

// noteOne tells of a server that takes one recipient at a time.
func (f *facts) noteOne() string {
	for i := range f.asked {
		if a := &f.asked[i]; a.result == tooMany {
			return "It does not take a second recipient in one transaction (" + sayResponse(&a.rcpt) + "), so each was asked for alone."
		}
	}
	return ""
}

// noteBroken tells of conversations that ended early though enough was learned.
func (f *facts) noteBroken(class Class) string {
	if class == RefusesProbe || class == Unreachable || class == "" {
		return ""
	}
	for i := range f.asked {
		if a := &f.asked[i]; a.result != unasked && a.answer().Code == 421 {
			return "It ends sessions early (" + sayResponse(a.answer()) + "); what it had said before counts."
		}
	}
	if f.broke != nil {
		return "Not every conversation came to its end: " + f.brokeAt() + ". What it had said before counts."
	}
	return ""
}

// noteNotices tells what came to the return path besides the bounce.
func (f *facts) noteNotices() string {
	var parts []string
	others := 0
	for i := range f.notices {
		n := &f.notices[i]
		switch {
		case n.Ours && f.sent.bounce != nil && *f.sent.bounce.id() == *n.id():
		case n.Kind == bounce.Challenge.String(), n.Kind == bounce.VirusNotice.String():
			parts = append(parts, "it writes to senders who may be forged ("+n.say()+"), which is backscatter as well")
		case n.Kind == bounce.AutoReply.String():
			parts = append(parts, "somebody's automatic reply came ("+n.say()+"), so a person gets what nobody was to get")
		case n.Ours:
			parts = append(parts, "a notice came ("+n.say()+")")
		default:
			if others++; others <= 3 {
				parts = append(parts, "something else came to the return path ("+n.say()+")")
			}
		}
	}
	if more := max(0, others-3) + f.dropped; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more messages came there that have nothing to do with this", more))
	}
	if len(parts) == 0 {
		return ""
	}
	return "Meanwhile " + strings.Join(parts, "; ") + "."
}

// id is what tells two notices apart.
func (n *Notice) id() *[3]string { return &[3]string{n.Client, n.Subject, n.Action} }

// noteRelay says that it is not known whether it relays.
func (f *facts) noteRelay(class Class) string {
	if f.interrupted || class == RefusesProbe || class == Unreachable || f.relayRefused() || f.relay != nil && f.relay.result == accepted {
		return ""
	}
	if f.relay == nil || f.relay.result == unasked {
		return "Whether it takes mail for other domains (an open relay) could not be asked."
	}
	text := "Whether it takes mail for other domains (an open relay) is not known: it answered " + sayResponse(f.relay.answer())
	if f.relay.retried {
		text += ", also on the retry"
	}
	return text + "."
}

// noteInside says what cannot be seen from where we are.
func (f *facts) noteInside() string {
	if f.relay == nil || f.relay.result != accepted || !f.inside {
		return ""
	}
	return "It takes mail for other domains from " + f.client + ", which is usual for an address of its own network: only a scan from outside tells whether it does so for everybody."
}

// noteTLS says what is wrong with encryption.
func (f *facts) noteTLS() string {
	if !f.found || len(f.ehlo) == 0 {
		return ""
	}
	if !f.caps.StartTLS {
		return "It offers no STARTTLS, so all mail to it travels in plain text."
	}
	if f.wantsTLS != "" {
		return "It takes no mail without TLS (" + f.wantsTLS + "), so it was asked with it. A server that everybody writes to must not ask for that (RFC 3207, 4): some mail will not arrive."
	}
	if f.cert == nil {
		return ""
	}
	flaws := f.cert.flaws(f.serverName())
	if len(flaws) == 0 {
		return ""
	}
	return "Encryption: " + strings.Join(flaws, "; ") + ". Most senders do not mind; those that go by MTA-STS or DANE do."
}

// noteMX names the hosts about which this says nothing.
func (f *facts) noteMX() string {
	var parts []string
	if len(f.before) > 0 && f.found {
		parts = append(parts, "before it "+strings.Join(f.before, ", ")+" did not answer")
	}
	if len(f.others) > 0 && f.mx {
		parts = append(parts, "not asked: "+strings.Join(f.others[:min(len(f.others), 5)], ", "))
	}
	if len(parts) == 0 {
		return ""
	}
	text := "This is about " + f.host + " alone (" + strings.Join(parts, "; ") + ")."
	if len(f.others) > 0 {
		text += " A second MX that does not know the users is the usual source of backscatter: `backstop scan smtp://" + f.others[0] + " --domain " + f.domain + "`."
	}
	return text
}
