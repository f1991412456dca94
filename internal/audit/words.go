package audit

import (
	"fmt"
	"slices"
	"strings"

	"backstop/internal/maillog"
)

// CauseWords says a cause, by its name in JSON, in words.
func CauseWords(name string) string {
	for c, n := range causeNames {
		if n == name {
			return causeWords[c]
		}
	}
	return name
}

// next says what to do now, as commands where there are some.
func (r *Report) next() []string {
	if r.Lines.Used == 0 {
		return []string{"nothing in these files is a mail log that is known: Postfix, Exim, Sendmail, OpenSMTPD, or Exchange's message tracking (with its #Fields line)"}
	}
	if r.Ends {
		return []string{"these logs end before the time that --since names: give newer ones, or leave it out"}
	}
	if r.Backscatter == 0 {
		return r.nothingLeft()
	}
	var steps []string
	switch {
	case r.OwnGiven:
	case !r.OwnKnown:
		steps = append(steps, "name all your domains, as nothing here shows them: backstop audit --domain example.com …")
	default:
		steps = append(steps, "see whether all your domains are among those above; if not, name all of them: backstop audit --domain "+r.domain()+" …")
	}
	if r.AtRcpt+r.AtData > 0 {
		steps = append(steps, r.plugIn()...)
	}
	if n := r.Remaining; n > 0 {
		steps = append(steps, r.rest(n))
	}
	steps = append(steps, r.others()...)
	if r.FromStart {
		steps = append(steps, "find out when it began: give older logs, too; and keep a copy of these, before they are rotated away")
	}
	return append(steps, "see whether this server is listed for it already: backstop listed ADDRESS")
}

func (r *Report) nothingLeft() []string {
	if steps := r.others(); len(steps) > 0 {
		return append(steps, "see whether this server is listed for it already: backstop listed ADDRESS")
	}
	if r.Headless > 0 {
		return []string{"where these bounces come from stands in older logs: give those, too"}
	}
	return []string{"nothing: this server bounced to nobody outside. To see whether it would, examine it from outside: backstop scan " + r.domain()}
}

// others says what to do about null senders that this server sends out and did not write.
func (r *Report) others() []string {
	var steps []string
	if r.Inner > 0 {
		steps = append(steps, fmt.Sprintf("%s from %s to strangers through this server, whose address the lists see: audit the log of %s, too, and let what leaves pass [outbound] (docs/outbound.md)",
			several(r.Inner, "message with the null sender went", "messages with the null sender went"), r.Insiders[0].Name, r.Insiders[0].Name))
	}
	if r.Answers > 0 {
		steps = append(steps, fmt.Sprintf("%s to strangers: if these are vacation replies, let them answer known senders only, or let what leaves pass [outbound] (docs/outbound.md)",
			several(r.Answers, "message with the null sender went from a program here", "messages with the null sender went from programs here")))
	}
	return steps
}

// plugIn is how Backstop is put before the store, with the server that wrote most.
func (r *Report) plugIn() []string {
	domain := r.domain()
	store := ""
	for _, h := range r.Hosts {
		if h.Inner && typable(address(strings.TrimSuffix(h.Name, byLMTP)), "-.:[]/_") {
			store = h.Name
			break
		}
	}
	var most Server
	for _, s := range r.Servers {
		if s.Backscatter > most.Backscatter {
			most = s
		}
	}
	var steps []string
	switch most.Name {
	case maillog.Exchange.String():
		steps = append(steps, "make Exchange tell at RCPT who exists: backstop setup exchange --domain "+domain)
		if store == "" {
			return append(steps, "and stand before it: backstop serve --listen :25 --relay "+domain+"=EXCHANGE:25")
		}
	case maillog.OpenSMTPD.String():
		steps = append(steps, "let Backstop stand before OpenSMTPD, which has no door to ask by: backstop serve --listen :25 --relay "+domain+"=OPENSMTPD:PORT")
	default:
		steps = append(steps, fmt.Sprintf("let %s ask Backstop at RCPT: backstop setup %s --domain %s", most.Name, strings.ToLower(most.Name), domain))
	}
	if lmtp, ok := strings.CutSuffix(store, byLMTP); ok {
		steps = append(steps, fmt.Sprintf("name the store in [[domain]] %s, and Backstop asks it who exists: relay = \"%s\", recipients = [\"callahead\"]", domain, lmtpURL(lmtp)))
	} else if store != "" {
		store = address(store)
		if host, ok := strings.CutSuffix(store, ":25"); ok && most.Name == maillog.Exchange.String() {
			store = host + ":2525" // behind port 25 it says at RCPT that all exist
		}
		steps = append(steps, fmt.Sprintf("see whether the store itself says at RCPT who exists: backstop scan smtp://%s --domain %s; if it does, it is the source: recipients = [\"callahead:smtp://%s\"]", store, domain, store))
	} else {
		steps = append(steps, "name who exists in [[domain]] "+domain+": recipients = a list, a directory server or a database (docs/sources.md)")
	}
	return steps
}

// rest says what Backstop alone does not end.
func (r *Report) rest(n int) string {
	return fmt.Sprintf("%s would be written all the same (forwarded mail that others refused, mail that was never delivered, causes that the log does not have): let what leaves pass [outbound], which keeps bounces to people who never wrote (docs/outbound.md)", several(n, "bounce", "bounces"))
}

// address is that of a host, with its port: "store.example.com [10.0.0.5]:2525" has 10.0.0.5:2525.
func address(host string) string {
	a, port := host, ""
	if i := strings.IndexByte(host, '['); i >= 0 {
		a, port, _ = strings.Cut(host[i+1:], "]")
		if strings.Contains(a, ":") {
			a = "[" + strings.TrimPrefix(a, "IPv6:") + "]"
		}
		a += port
	}
	if i := strings.LastIndexByte(a, ':'); i < 0 || strings.HasSuffix(a, "]") {
		a += ":25"
	}
	return a
}

// lmtpURL is a store as a relay: "mx1 [private/dovecot-lmtp]" is a socket in the queue of Postfix.
func lmtpURL(host string) string {
	a := address(host)
	if strings.Contains(a, "/") {
		return "lmtp+unix:///var/spool/postfix/" + strings.TrimSuffix(a, ":25")
	}
	return "lmtp://" + a
}

// domain is the own one whose users were missed most, as an example in commands.
func (r *Report) domain() string {
	for _, d := range r.For {
		if slices.Contains(r.Own, d.Name) && typable(d.Name, "-.") {
			return d.Name
		}
	}
	for _, name := range r.Own {
		if typable(name, "-.") {
			return name
		}
	}
	return "example.com"
}

// typable tells names that mean themselves in a shell. Strangers write names into logs, and people copy commands.
func typable(name, marks string) bool {
	for _, c := range name {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune(marks, c) {
			return false
		}
	}
	return name != "" && name[0] != '-'
}

func several(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
