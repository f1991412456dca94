package scan

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"backstop/internal/bounce"
	"backstop/internal/smtp"
)

// slow is from when on an answer is told to be slow: nobody who only looks something up takes so long.
const slow = 3 * time.Second

// advice is what to say: first what was found, then what to do about it, then what else was seen.
func (f *facts) advice(class, onRetry Class) []string {
	a := []string{f.headline(class, onRetry)}
	what := class
	if class == Greylists {
		what = onRetry
		if text := f.headline(onRetry, ""); onRetry != "" {
			a = append(a, text)
		}
	}
	a = append(a, f.cure(what)...)
	for _, note := range []string{
		f.lookup, f.noteMixed(), f.noteSenders(), f.notePostmaster(), f.noteHub(), f.noteSlow(), f.noteOne(), f.noteBroken(what),
		f.noteNotices(), f.noteRelay(class), f.noteInside(), f.noteTLS(), f.noteMX(),
	} {
		if note != "" {
			a = append(a, note)
		}
	}
	if f.interrupted {
		text := "The scan was interrupted; this is what was seen until then."
		if f.sent.taken() {
			text += " One message had been sent, to " + f.sent.to.String() + ": a bounce of it may still come to " + f.returnPath + "."
		}
		a = append(a, text)
	}
	if f.spent {
		a = append(a, fmt.Sprintf("%d connections were made, and more are not: some questions were left out.", MaxConnections))
	}
	return a
}

// headline says what was found.
func (f *facts) headline(class, onRetry Class) string {
	switch class {
	case RefusesAtRcpt:
		return "It refuses unknown recipients at RCPT, while the sender is still there (" + f.example(missing, denied) + "): it bounces nothing that it does not know. Nothing is to be done about that."
	case AcceptsUnknown:
		return "It accepts recipients who cannot exist (" + f.example(accepted) + "). What it does with their mail then cannot be seen by asking: it may bounce it, which makes it a source of backscatter, keep it, or refuse it after DATA." + f.whyNotSent()
	case CatchAll:
		return fmt.Sprintf("It took a message for somebody who cannot exist (%s), and no bounce came within %s: a catch-all address takes it, or it is thrown away. Everything that spammers guess is accepted.", sayResponse(&f.sent.answer), f.sent.waited.Round(time.Second)) + f.shortWait()
	case AcceptsThenBounces:
		b := f.sent.bounce
		return fmt.Sprintf("It is a source of backscatter: it took a message for somebody who cannot exist, and a bounce came %s later from %s. Whoever is forged as the sender of spam gets such bounces, and blocklists list servers that send them.", f.sent.waited.Round(10*time.Millisecond), b.where())
	case RefusesAfterData:
		return f.afterData()
	case Greylists:
		return f.greylisted(onRetry)
	case RefusesProbe:
		return f.probeRefused()
	case OpenRelay:
		return fmt.Sprintf("It takes mail from strangers for other domains (RCPT TO:<%s>: %s): an open relay, as far as RCPT shows it. No mail was sent through it. Spammers find such a server within hours, and all of its mail ends on blocklists.", f.relay.to, sayResponse(&f.relay.rcpt))
	}
	return f.unreachable()
}

// example is one answer of these kinds.
func (f *facts) example(kinds ...result) string {
	for _, a := range f.telling(f.latest()) {
		for _, k := range kinds {
			if a.result == k {
				return sayResponse(a.answer())
			}
		}
	}
	return "no answer"
}

func (f *facts) whyNotSent() string {
	t := &f.sent
	switch {
	case !f.sends:
		return " `--send` finds out, with one labelled message."
	case f.interrupted:
		return ""
	case t.lost:
		return " A message was sent, and the connection broke before its answer came; no bounce came either."
	case t.put():
		last := t.rcpt
		if t.answer.Code != 0 {
			last = t.answer
		}
		return " The message was put off (" + sayResponse(&last) + "), also when it was brought again: try later, or with a longer --retry-after."
	case !f.maySend():
		return " No message was sent, since it is not known that it does not relay: through a relay nothing is ever sent."
	case t.rcpt.Class() == 5:
		return " The message could not be sent: with --return-path as its sender it was refused (" + sayResponse(&t.rcpt) + ")."
	}
	return " The message could not be sent."
}

// shortWait says what a bounce may still be waiting for.
func (f *facts) shortWait() string {
	for i := range f.notices {
		if n := &f.notices[i]; n.Ours && n.Action == bounce.Delayed.String() {
			return " A notice of a delay came, so it may still bounce when it gives up: a longer --wait would tell."
		}
	}
	if f.visits == 0 {
		return " But nothing at all connected to --listen, so a bounce would not have been seen if it went elsewhere: make sure that mail for " + f.returnPath + " comes to this machine, and scan again."
	}
	return " A bounce may come later where the return path is behind greylisting or does not lead to --listen."
}

func (f *facts) afterData() string {
	t := &f.sent
	where := "after the dot"
	if t.atData {
		where = "at DATA"
	}
	text := "It accepts unknown recipients at RCPT, and refuses the message " + where + " (" + sayResponse(&t.answer) + "): nothing bounces, but each message has to be sent in full first, one unknown recipient refuses it for all, and whoever asks at RCPT (call-ahead) is told that everybody exists."
	if t.unclear() {
		text += " Its words may be about the message or about us, and not about the recipient: then this says nothing about him. Try again from another address or with another --return-path."
	}
	return text
}

func (f *facts) greylisted(onRetry Class) string {
	put := ""
	if f.putOff != "" {
		put = " (" + f.putOff + ")"
	}
	for i := range f.asked {
		if a := &f.asked[i]; a.result == deferred && !a.retried {
			put = " (" + sayResponse(a.answer()) + ")"
			break
		}
	}
	text := "It puts strangers off at first" + put + ", as greylisting does."
	if onRetry == "" && !f.retried {
		return text + " It was not asked again, so nothing is known of unknown recipients."
	}
	if onRetry == "" {
		return text + " On the retry it still did, so nothing is known of unknown recipients: it wants a longer --retry-after, or it answers 4xx for good (soft_bounce, or a reject code of 450, in Postfix), and then senders try for days before their own servers tell them."
	}
	return text + " On the retry it was decided:"
}

// probeRefused says at what point it did not want to be asked.
func (f *facts) probeRefused() string {
	var refused *smtp.RefusedError
	if errors.As(f.broke, &refused) && len(f.asked) == 0 && refused.Response.Class() == 4 {
		return fmt.Sprintf("It did not want to talk to us now: at %s it says %s, also when it was asked again. So nothing can be said about recipients. Try again later.", stepName(refused.Step), sayResponse(&refused.Response))
	}
	if errors.As(f.broke, &refused) && len(f.asked) == 0 {
		return fmt.Sprintf("It does not talk to us: at %s it says %s. So nothing can be said about recipients. Ask from another address, best from one with a name in the DNS and no place on blocklists, and with a true --helo.", stepName(refused.Step), sayResponse(&refused.Response))
	}
	answers, alike := f.alike()
	switch {
	case f.wantsTLS != "" && !f.caps.StartTLS:
		return "It takes no mail without TLS (" + f.wantsTLS + "), and offers no STARTTLS. So nothing can be said about recipients."
	case f.wantsTLS != "" && len(answers) == 0:
		return "It takes no mail without TLS (" + f.wantsTLS + "), and with TLS nothing could be asked: " + f.brokeAt() + ". So nothing can be said about recipients."
	case alike && strings.HasPrefix(answers[0], "530 "):
		return "It wants a login first (" + answers[0] + "): that is a server for its own users. Ask the one that takes mail from everybody, on port 25."
	case len(answers) == 0:
		return "It does not answer a probe: " + f.brokeAt() + ". So nothing can be said about recipients."
	case alike && has(strings.ToLower(answers[0]), "relay", "rcpthosts", "not local", "not a local"):
		return "It does not take mail for " + f.domain + " from us (" + answers[0] + "), also not for the postmaster: is this the server for that domain? With smtp://HOST, --domain names one that it has."
	case alike:
		return "It answers everybody alike, also for the postmaster (" + answers[0] + "): it refuses the probe, and says nothing about recipients. Ask from another address, with a true --helo, and a --from that can be written to."
	}
	if text := f.refusesUs(); text != "" {
		return "It refuses us, and not the recipients (" + text + "): only the postmaster is let in, as by servers that look at blocklists or at the sender behind him. So nothing can be said about recipients. Ask from another address, best from one with a name in the DNS and no place on blocklists, and with a --from that can be written to."
	}
	return "Its answers are no yes and no no to any unknown recipient (" + strings.Join(answers[:min(len(answers), 3)], "; ") + "), so nothing can be said about them."
}

// refusesUs is a refusal that is about us; "": there is none.
func (f *facts) refusesUs() string {
	for _, a := range f.latest() {
		if a.shape.unknown() && a.result == denied && a.aboutUs(f.relay, f.client) {
			return sayResponse(a.answer())
		}
	}
	return ""
}

// alike are the different answers to all questions.
func (f *facts) alike() (answers []string, same bool) {
	seen := map[string]bool{}
	codes := map[int]bool{}
	for _, a := range f.latest() {
		if a.result == unasked || a.shape == ShapeForeign {
			continue
		}
		r := a.answer()
		codes[r.Code] = true
		if text := sayResponse(r); !seen[text] {
			seen[text] = true
			answers = append(answers, text)
		}
	}
	return answers, len(codes) == 1
}

func (f *facts) brokeAt() string {
	var broke *smtp.StepError
	var refused *smtp.RefusedError
	switch {
	case errors.As(f.broke, &refused):
		return "at " + stepName(refused.Step) + ", " + sayResponse(&refused.Response)
	case errors.As(f.broke, &broke):
		return "at " + stepName(broke.Step) + ", " + reason(broke.Err)
	case f.broke != nil:
		return reason(f.broke)
	}
	return "no more was said"
}

// stepName is a step as people write it.
func stepName(s smtp.Step) string {
	switch s {
	case smtp.StepBanner:
		return "the banner"
	case smtp.StepHello:
		return "EHLO"
	}
	return strings.ToUpper(s.String())
}

func (f *facts) unreachable() string {
	if f.found {
		return "Somebody is there, and does not speak SMTP to us: " + f.brokeAt() + "."
	}
	if f.interrupted {
		return "Nobody had answered yet."
	}
	text := strings.Join(f.trouble, " ")
	if text == "" {
		text = "Nobody could be asked."
	}
	if strings.Contains(text, "no answer in time") || strings.Contains(text, "timeout") {
		text += " Many providers close port 25 to their customers: try from another network."
	}
	return text
}

// cure says what to change, and where Backstop comes in.
func (f *facts) cure(class Class) []string {
	p := f.product()
	name := p.name
	if name == "" {
		name = "The server"
	}
	switch class {
	case OpenRelay:
		if text := relayCures[p.id]; text != "" {
			return []string{text}
		}
		return []string{"Let it relay for your own networks and for people who log in, and take mail from strangers for your own domains only."}
	case AcceptsUnknown, CatchAll, AcceptsThenBounces, RefusesAfterData:
	default:
		return nil
	}
	text := cures[p.id]
	if text == "" {
		text = name + ": " + cures[""]
	}
	if p.id == idBackstop || p.id == "google" || p.id == idMicrosoft {
		return []string{text}
	}
	with := "Backstop in front of it refuses them at RCPT, whatever the server behind does"
	if g := guides[p.id]; g != "" {
		with += ": `backstop setup " + g + "` prints the lines"
	} else {
		with += "; the README has a configuration to begin with"
	}
	if p.id == idExchange {
		return []string{text, with + ". It can ask this server who exists, on port 2525 alone."}
	}
	if class == RefusesAfterData || class == AcceptsUnknown || class == AcceptsThenBounces {
		with += ". It needs a source that knows who exists (a list, a directory, a database): asking this server at RCPT does not tell"
	}
	return []string{text, with + "."}
}

// where is who brought a notice.
func (n *Notice) where() string {
	text := n.Client
	if n.Helo != "" {
		text += " (" + n.Helo + ")"
	}
	if n.From != "" {
		text += ", written by " + n.From
	}
	if n.Diagnostic != "" {
		text += ", because of \"" + n.Diagnostic + "\""
	}
	return text
}

func (f *facts) serverName() string {
	host, _, err := net.SplitHostPort(f.host)
	if err != nil {
		return f.host
	}
	return host
}
