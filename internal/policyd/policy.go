package policyd

import (
	"net/netip"
	"strconv"
	"strings"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/postfix"
	"backstop/internal/session"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// dunno is the action that leaves the matter to the restrictions behind ours.
const dunno = "DUNNO"

// policy answers one connection. Its requests are about one message after another, which the
// attribute instance tells apart.
type policy struct {
	door *Door

	s      *session.Session // of the message that is asked about; nil before the first
	engine *session.Engine  // that s began with
	whose  []byte           // what tells this message from another
	next   []byte           // the same of the request in hand

	refusal string     // the action that holds for all its recipients, "" for none
	from    mail.Reply // why the sender is no address; zero: he is one
	passed  string     // the recipient who was accepted last
}

func (p *policy) Policy(r *postfix.Request) (string, bool) {
	if !r.Is("request", "smtpd_access_policy") {
		return dunno, true
	}
	switch string(r.Bytes("protocol_state")) {
	case "RCPT":
		return p.rcpt(r), true
	case "DATA", "END-OF-MESSAGE":
		return p.data(r), true
	}
	return dunno, true // too early to tell, or no mail at all
}

// Close ends the last session.
func (p *policy) Close() {
	if p.s != nil {
		p.s.Close()
		p.s = nil // it may be somebody else's by now
	}
}

// rcpt decides one recipient.
func (p *policy) rcpt(r *postfix.Request) string {
	given := r.Bytes("recipient")
	if len(given) == 0 {
		return dunno
	}
	p.follow(r)
	text := string(given)
	switch {
	case p.refusal != "":
		return p.refusal
	case !p.from.IsZero():
		return p.malformed(text, p.from)
	case text == p.passed:
		return dunno // the service stands in two lists of restrictions: he is one recipient all the same
	}
	to, wrong := smtp.ParseRecipient(quoted(text))
	if !wrong.IsZero() {
		return p.malformed(text, wrong)
	}
	v := p.s.Rcpt(to, smtp.RcptParams{})
	if accepts(v) {
		p.passed = text
	}
	return action(v, to.String())
}

// data decides what only the number of recipients tells; the size of a message is the business of Postfix. What was to be said of each
// recipient was said at RCPT, if Postfix asks there.
func (p *policy) data(r *postfix.Request) string {
	p.follow(r)
	if p.refusal != "" {
		return p.refusal
	}
	if !p.from.IsZero() {
		return dunno // and if it was to be refused, it was, with its recipients
	}
	if v := p.s.Recount(number(r, "recipient_count")); !accepts(v) {
		return action(v, "")
	}
	return dunno
}

// follow begins a session where the request is about another message than the last one.
func (p *policy) follow(r *postfix.Request) {
	instance := r.Bytes("instance")
	p.next = append(append(p.next[:0], instance...), 0)
	p.next = append(append(p.next, r.Bytes("client_address")...), 0) // or the sender of one would be answered for another's
	p.next = append(p.next, r.Bytes("sender")...)
	if p.s != nil && len(instance) > 0 && string(p.next) == string(p.whose) {
		return
	}
	p.whose, p.next = p.next, p.whose
	p.begin(r)
}

// begin opens a session and tells it what Postfix knew before the recipients.
func (p *policy) begin(r *postfix.Request) {
	p.Close()
	p.engine = p.door.state.Load().Engine
	p.refusal, p.from, p.passed = "", mail.Reply{}, ""
	client := evidence.Client{Name: known(r.Get("client_name")), Login: r.Get("sasl_username"), Port: uint16(number(r, "client_port"))}
	client.Addr, _ = netip.ParseAddr(string(r.Bytes("client_address"))) // "unknown" is no address
	client.Addr = client.Addr.Unmap().WithZone("")
	p.s = p.engine.Begin(p.door.ctx, p.door.protocol.Door(), client)
	if p.refuses(p.s.Connect(false, false)) {
		return
	}
	p.s.Login(client.Login)
	if p.refuses(p.s.Helo(r.Get("helo_name"), "", false)) {
		return
	}
	from, wrong := smtp.ParseSender(quoted(r.Get("sender")))
	if p.from = wrong; wrong.IsZero() {
		p.refuses(p.s.Mail(from, smtp.MailParams{Size: int64(number(r, "size"))}))
	}
}

// refuses keeps a verdict that holds for all recipients.
func (p *policy) refuses(v verdict.Verdict) bool {
	if accepts(v) {
		return false
	}
	p.refusal = action(v, "")
	return true
}

// malformed is the action where Postfix has taken for an address what is none, with the reply of the
// gateway. Left to Postfix it would be accepted, and bounced by whoever is behind it. Of other domains nothing is said.
func (p *policy) malformed(recipient string, reply mail.Reply) string {
	if p.engine.Strict(recipient) {
		return wording(reply, recipient)
	}
	return dunno
}

func accepts(v verdict.Verdict) bool {
	return v.Effect != verdict.Refuse && v.Effect != verdict.Defer
}

// action is a verdict as access(5) has it. recipient is whom it is about, "" for nobody.
func action(v verdict.Verdict, recipient string) string {
	if accepts(v) {
		return dunno
	}
	return wording(v.Reply, recipient)
}

// wording is a reply without the words that Postfix will put before it at RCPT, which are "<recipient>:
// Recipient address rejected: ".
func wording(r mail.Reply, recipient string) string {
	s := r.String()
	if recipient == "" {
		return s
	}
	if head, text, ok := strings.Cut(s, "<"+recipient+">: "); ok && len(head) <= len("550 5.7.123 ") {
		return head + strings.TrimPrefix(strings.TrimPrefix(text, "Recipient address "), "rejected: ")
	}
	return s
}

// known is a name that Postfix found.
func known(name string) string {
	if name == "unknown" {
		return ""
	}
	return name
}

// number is an attribute that is one; 0 where it is not there, or is none.
func number(r *postfix.Request, name string) int {
	b := r.Bytes(name)
	if len(b) == 0 {
		return 0
	}
	n, err := strconv.ParseUint(string(b), 10, 63)
	if err != nil {
		return 0
	}
	return int(n)
}
