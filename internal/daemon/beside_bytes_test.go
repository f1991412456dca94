package daemon_test

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

const usual = "From: Alice <alice@example.com>\r\nTo: nobody@far.example\r\nDate: Sun, 22 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n"

// shapes are messages in all forms, as they are sent. alone says what an MTA does to one by itself, without us; where it
// stands under its name with a leg, in that way alone.
var shapes = []struct {
	name, text string
	alone      map[string]string
}{
	{"plain", usual + "Subject: x\r\n\r\nHello\r\n", nil},
	{"8bit", usual + "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xfc\xdfe\r\n\x01\x7f\xff\r\n", nil},
	{"8bit header", usual + "Subject: Gr\xfc\xdfe\r\nX-UTF-8: Gr\u00fc\u00dfe\r\n\r\nHello\r\n", nil},
	{"dots", usual + "Subject: x\r\n\r\n.\r\n..\r\n.x\r\n \r\n\r\n.\r\n", nil},
	{"lines as long as may be", usual + "X-Long: " + strings.Repeat("x", 900) + "\r\nSubject: x\r\n\r\n" + strings.Repeat("y", 998) + "\r\n" + strings.Repeat("z ", 480) + "\r\n",
		map[string]string{"sendmail in": "breaks lines of more than 990 octets (L= of the mailer)"}},
	{"longer lines", usual + "Subject: x\r\n\r\n" + strings.Repeat("y", 3000) + "\r\n",
		map[string]string{"sendmail in": "breaks lines of more than 990 octets (L= of the mailer)", "sendmail out": brokenSignature}},
	{"no body", usual + "Subject: x\r\n\r\n", nil},
	{"no empty line", usual + "Subject: x\r\n", map[string]string{"sendmail": "adds the empty line"}},
	{"empty lines at the end", usual + "Subject: x\r\n\r\nHello\r\n\r\n\r\n\r\n", nil},
	{"no header", "\r\nHello\r\n", map[string]string{"sendmail out": "adds Date, From and Message-Id"}},
	{"nothing", "", map[string]string{"sendmail": "adds the empty line; out: Date, From and Message-Id"}},
	{"folded", usual + "Subject: one\r\n\ttwo\r\n  three\r\n \r\nX-Folded:\r\n x\r\n\r\nHello\r\n", nil},
	{"duplicates", "Received: from a by b; Sun, 22 Nov 2026 09:00:00 +0000\r\nX-A: 1\r\nX-B: 2\r\nX-A: 3\r\n" + usual + "Received: from c by d; Sun, 22 Nov 2026 09:00:00 +0000\r\nx-a: 4\r\nSubject: x\r\nSubject: y\r\n\r\nHello\r\n", nil},
	{"blanks", usual + "Subject:x\r\nX-Tab:\ttab\t\r\nX-Two:  two  \r\nX-Empty:\r\nX-Blank: \r\n\r\nHello \t\r\n", nil},
	{"a blank before the colon", usual + "Subject : x\r\n\r\nHello\r\n", map[string]string{"postfix": "takes it out", "sendmail": "takes it out"}},
	{"a line that is no field", usual + "Subject: x\r\nno field\r\nX-A: 1\r\n\r\nHello\r\n",
		map[string]string{"postfix": "lets the body begin there", "sendmail": "lets the body begin there"}},
	{"MIME", usual + "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n", nil},
	{"large", usual + "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 20_000), nil},
	{"a bare LF", usual + "Subject: x\r\n\r\none\ntwo\r\n", map[string]string{"postfix": "takes it for the end of a line", "sendmail": refusesIt}},
	{"a bare CR", usual + "Subject: x\r\n\r\none\rtwo\r\n", map[string]string{"postfix": "makes a blank of it", "sendmail": refusesIt}},
}

const (
	refusesIt       = "refuses it"
	brokenSignature = "breaks lines of more than 2040 octets (L= of the mailer), behind its filters: a signature does not hold"
)

// TestBesideBytes sends messages of all forms through an MTA with our milter, out and in, and through the same without it.
// What arrives differs in nothing but our fields, which stand on top; and is what was sent, but for what the MTA itself
// puts in front or changes.
func TestBesideBytes(t *testing.T) {
	for _, w := range milterWays {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			p := newPassage(t, w, "bounces = \"enforce\"\nbatv = \"sign\"", breaksLines)
			alone := rig.OpenBeside(t, w.kind, rig.Pasted{})
			for _, s := range shapes {
				for _, l := range legs {
					t.Run(s.name+" "+l.name, func(t *testing.T) {
						l.compare(t, p, alone, s.text, cmp.Or(s.alone[w.kind], s.alone[w.kind+" "+l.name]))
					})
				}
			}
		})
	}
}

// TestBesideLongLines: with all lines that `setup` prints where mail is signed Sendmail leaves long ones whole, and signatures hold.
func TestBesideLongLines(t *testing.T) {
	p := newPassage(t, milterWays[1], "batv = \"sign\"")
	long := usual + "Subject: x\r\n\r\n" + strings.Repeat("y", 3000) + "\r\n"
	for _, l := range legs {
		text, _ := l.through(t, p.mta, long)
		if _, rest := unwrapped(text); rest != long {
			t.Errorf("%s: it arrived as\n%s", l.name, text)
		}
		if l.name == "out" && p.signatures(t, text) != 1 {
			t.Error("the signature does not hold")
		}
	}
}

// TestBesideSevenBits: for a next server that takes seven bits Postfix writes a message anew, behind its filters. The tag and
// the seal go with it; with the parameter of docs/beside.md the signature too.
func TestBesideSevenBits(t *testing.T) {
	for _, line := range []string{"", "disable_mime_output_conversion = yes"} {
		t.Run(line, func(t *testing.T) {
			p := newPassage(t, milterWays[0], "bounces = \"enforce\"\nbatv = \"sign\"", line)
			p.mta.World.Change(func(s *mailtest.Script) {
				s.Extensions = slices.DeleteFunc(slices.Clone(mailtest.AllExtensions), func(e string) bool { return e == "8BITMIME" || e == "SMTPUTF8" })
			})
			l := legs[0]
			l.params = " BODY=8BITMIME"
			text, _ := l.through(t, p.mta, shapes[1].text)
			if anew := strings.Contains(text, "Content-Transfer-Encoding: quoted-printable"); anew != (line == "") || (p.signatures(t, text) == 1) == anew {
				t.Errorf("written anew: %v\n%s", anew, text)
			}
			b := bounced{p.mta.World.Messages()[0].From, "From: MAILER-DAEMON@far.example\r\nDate: Sun, 22 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@far.example>\r\n" +
				"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + text + "--b--\r\n"}
			p.returns(t, b, "tag")
			p.returns(t, b.bare().without("DKIM-Signature"), "seal")
		})
	}
}

// compare sends a message with and without us; mends is what the MTA does to it by itself.
func (l *leg) compare(t *testing.T, p *passage, alone *rig.Beside, text, mends string) {
	with, accepted := l.through(t, p.mta, text)
	without, same := l.through(t, alone, text)
	if accepted != same || accepted == (mends == refusesIt) {
		t.Fatalf("with us accepted: %v, without: %v: %s", accepted, same, with)
	}
	if !accepted {
		return
	}
	ours, rest := unwrapped(with)
	if none, all := unwrapped(without); len(none) > 0 || given.ReplaceAllString(rest, "$1") != given.ReplaceAllString(all, "$1") {
		t.Errorf("with us\n%.3000q\nwithout\n%.3000q", rest, all)
	}
	if (rest == text) != (mends == "") {
		t.Errorf("it %q, and\n%.3000q\narrived as\n%.3000q", mends, text, rest)
	}
	fields, signed := l.fields, 0
	if l.name == "out" {
		if strings.Contains(text, "From:") { // without it nothing is signed
			signed = 1
			fields = append([]string{"DKIM-Signature"}, fields...)
		}
		if mends == brokenSignature {
			signed = 0
		}
	}
	if !slices.Equal(ours, fields) {
		t.Errorf("our fields are %q, wanted %q", ours, fields)
	}
	if good := p.signatures(t, with); good != signed {
		t.Errorf("%d good signatures, wanted %d:\n%.3000s", good, signed, with)
	}
}

var legs = []leg{
	{"out", rig.Inside, "alice@example.com", "nobody@far.example", []string{"Backstop-Seal"}, ""},
	{"in", rig.Outside, "ann@partner.example", "alice@example.com", []string{"Authentication-Results", "Backstop-Origin"}, ""},
}

// leg is one way through an MTA.
type leg struct {
	name, source, from, to string
	fields                 []string // that are ours
	params                 string   // of MAIL
}

// through sends a message and returns what arrived; false: it was refused.
func (l *leg) through(t *testing.T, b *rig.Beside, text string) (string, bool) {
	t.Helper()
	at := b.World
	if l.name == "in" {
		at = b.Store
	}
	at.Forget()
	k := b.Dial(t, l.source)
	defer k.Close()
	k.Expect(t, "220", "banner")
	say(t, k, "EHLO mailer.example", "250", "MAIL FROM:<"+l.from+">"+l.params, "250", "RCPT TO:<"+l.to+">", "250", "DATA", "354")
	if r := k.Ask(t, strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:]+"."); r.Code != 250 {
		return r.String(), false
	}
	return string(one(t, at).Body), true
}

var (
	ourField = regexp.MustCompile(`^(Backstop-[A-Za-z-]+|DKIM-Signature|Authentication-Results):.*\r\n(?:[ \t].*\r\n)*`)
	trace    = regexp.MustCompile(`^Received: .*\r\n(?:[ \t].*\r\n)*`)
	given    = regexp.MustCompile(`(?m)^(Date|Message-Id): .*\r$`) // what Sendmail adds
)

// unwrapped takes off what stands in front of a message: our fields, whose names it returns, and the MTA's Received.
func unwrapped(text string) (ours []string, rest string) {
	for {
		f := ourField.FindStringSubmatch(text)
		if f == nil {
			return ours, strings.TrimPrefix(text, trace.FindString(text))
		}
		ours, text = append(ours, f[1]), text[len(f[0]):]
	}
}
