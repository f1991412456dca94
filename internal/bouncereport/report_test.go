package bouncereport

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"backstop/internal/bounce"
	"backstop/internal/tally"
)

func in(domain, verdict string, kind bounce.Kind, by, sender string, n uint64) tally.Line {
	return tally.Line{Entry: tally.Entry{Direction: tally.In, Domain: domain, Verdict: verdict, Kind: kind.String(), By: by, Sender: sender}, Count: n}
}

func out(domain, server, verdict string, kind bounce.Kind, by string, n uint64) tally.Line {
	e := tally.Entry{Direction: tally.Out, Domain: domain, Verdict: verdict, Kind: kind.String(), By: by}
	if server != "" {
		e.Server = netip.MustParseAddr(server)
	}
	return tally.Line{Entry: e, Count: n}
}

const (
	noJudge = "1 message could not be judged, because the record of seen mail could not be read: the log says why"
	users   = "it accepts unknown users (make it refuse them at RCPT, or let Backstop ask it), or its users forward to where mail is refused"
	answers = "its programs answer forged mail (switch such answers off there, at least to mail from outside)"
	nobody  = "it sends other mail with the null sender, which is for bounces alone (users who forward everything do so with what came in that way)"
)

func TestWords(t *testing.T) {
	lines := []tally.Line{
		in("example.com", tally.Proven, bounce.Bounce, "seal", "", 100), in("example.com", tally.Proven, bounce.Bounce, "tag", "", 20),
		in("example.com", tally.Unproven, bounce.Bounce, "", "spam.example.net", 38), in("example.com", tally.Unproven, bounce.Receipt, "", "friend.example.org", 3),
		in("example.com", tally.Unproven, bounce.Bounce, "", "friend.example.org", 1), in("example.org", tally.Exempt, bounce.AutoReply, "From:example.net", "", 4),
		in("example.org", tally.Refused, bounce.Bounce, "", "", 5), in("example.org", tally.Unknown, bounce.Bounce, "", "", 1),
		out("example.com", "10.0.0.7", tally.Redirected, bounce.Bounce, "", 300), out("example.com", "10.0.0.7", tally.Refused, bounce.Bounce, "", 10),
		out("example.com", "10.0.0.7", tally.Unproven, bounce.AutoReply, "", 2), out("example.com", "10.0.0.7", tally.Proven, bounce.Bounce, "origin", 9),
		out("example.org", "10.0.0.8", tally.Proven, bounce.AutoReply, "heard", 4), out("example.org", "", tally.Unproven, bounce.AutoReply, "", 1),
		out("example.org", "10.0.0.8", tally.Unknown, bounce.Bounce, "", 1),
	}
	for _, tt := range []struct {
		domain, in, out string
		senders         int
	}{
		{"", `5 messages were refused in 7 days, and enforcing everywhere and all the time would have refused 42 more; among them: 3 receipts, which people may miss
these look legitimate, by the domain in their From: friend.example.org (3 receipts and 1 bounce); name in bounces_exempt whom you know
` + noJudge,
			`10.0.0.7 (example.com) sent 310 bounces and 2 auto-replies to people who never wrote, as far as anything proves (2 left, 300 went to bounce_to, 10 refused): ` + users + "; " + answers + `
other servers (example.org) sent 1 auto-reply to people who never wrote, as far as anything proves (1 left): ` + answers + "\n" + noJudge, 3},
		{"example.com", `enforcing would have refused 42 messages in 7 days; among them: 3 receipts, which people may miss
these look legitimate, by the domain in their From: friend.example.org (3 receipts and 1 bounce); name in bounces_exempt whom you know`,
			`10.0.0.7 (example.com) sent 310 bounces and 2 auto-replies to people who never wrote, as far as anything proves (2 left, 300 went to bounce_to, 10 refused): ` + users + "; " + answers, 2},
		{"example.org", "5 messages were refused in 7 days, and nothing passed unproven\n" + noJudge,
			`other servers (example.org) sent 1 auto-reply to people who never wrote, as far as anything proves (1 left): ` + answers + "\n" + noJudge, 1},
		{"example.net", "no bounce and no other automatic mail came in within 7 days", "no server of yours sent automatic mail through Backstop within 7 days", 0},
	} {
		r := Make(lines, 7, 20000, tt.domain)
		if got := strings.Join(r.In.Words, "\n"); got != tt.in {
			t.Errorf("%s in:\n%s\nwant\n%s", tt.domain, got, tt.in)
		}
		if got := strings.Join(r.Out.Words, "\n"); got != tt.out {
			t.Errorf("%s out:\n%s\nwant\n%s", tt.domain, got, tt.out)
		}
		if len(r.In.Senders) != tt.senders || r.Since != 20000 || r.Empty() != (tt.domain == "example.net") {
			t.Errorf("%s: %+v", tt.domain, r)
		}
	}
}

// TestFirstSentence: it never says more than the numbers do.
func TestFirstSentence(t *testing.T) {
	proven := in("example.com", tally.Proven, bounce.Bounce, "seal", "", 3)
	exempt := in("example.com", tally.Exempt, bounce.Receipt, "To:alice@example.com", "", 1)
	unknown := in("example.com", tally.Unknown, bounce.Bounce, "", "", 1)
	stopped := in("example.com", tally.Stopped, bounce.Bounce, "", "", 2)
	refused := in("example.com", tally.Refused, bounce.Bounce, "", "example.net", 1)
	const elsewhere = "2 messages without a proof met another rule, or a server that refused"
	for name, c := range map[string]struct {
		lines []tally.Line
		want  string
	}{
		"proven and exempt": {[]tally.Line{proven, exempt}, "everything was proven or exempt: enforcing would have refused nothing in 1 day"},
		"some unknown":      {[]tally.Line{proven, exempt, unknown}, "4 messages were proven or exempt in 1 day\n" + noJudge},
		"all unknown":       {[]tally.Line{unknown}, noJudge},
		"stopped elsewhere": {[]tally.Line{stopped}, elsewhere},
		"some stopped":      {[]tally.Line{exempt, stopped}, "1 message was proven or exempt in 1 day\n" + elsewhere},
		"refused":           {[]tally.Line{refused, proven}, "1 message was refused in 1 day, and nothing passed unproven"},
	} {
		r := Make(c.lines, 1, 20000, "")
		if got := strings.Join(r.In.Words, "\n"); got != c.want || r.In.WouldRefuse != 0 {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// TestNamelessSenders: mail with no From is nobody's, so nobody misses it.
func TestNamelessSenders(t *testing.T) {
	r := Make([]tally.Line{in("example.com", tally.Unproven, bounce.Ordinary, "", "", 7)}, 1, 20000, "")
	if got := strings.Join(r.In.Words, "\n"); got != "enforcing would have refused 7 messages in 1 day" || len(r.In.Senders) != 1 || r.In.Senders[0].Likely {
		t.Errorf("%q %+v", got, r.In.Senders)
	}
	r = Make([]tally.Line{in("example.com", tally.Unproven, bounce.Ordinary, "", "example.net", 1)}, 1, 20000, "")
	if got := strings.Join(r.In.Words, "\n"); !strings.Contains(got, "among them: 1 ordinary message,") || !strings.Contains(got, "example.net (1 ordinary message)") || !r.In.Senders[0].Likely {
		t.Errorf("%q %+v", got, r.In.Senders)
	}
}

func TestExemptionsByName(t *testing.T) {
	r := Make([]tally.Line{
		in("example.com", tally.Exempt, bounce.Bounce, "From:example.net", "", 2), in("example.com", tally.Exempt, bounce.Bounce, "bounce_to", "", 3),
		in("example.com", tally.Proven, bounce.Bounce, "seal", "", 1),
	}, 1, 20000, "")
	row := r.In.Rows[0]
	if row.Exempt != 5 || len(row.ExemptBy) != 2 || row.ExemptBy["From:example.net"] != 2 || row.ExemptBy["bounce_to"] != 3 || len(row.By) != 1 {
		t.Errorf("%+v", row)
	}
}

func TestAdvice(t *testing.T) {
	for kind, want := range map[bounce.Kind]string{
		bounce.Bounce: users, bounce.AutoReply: answers, bounce.Challenge: answers, bounce.VirusNotice: answers, bounce.Ordinary: nobody, bounce.Receipt: nobody, bounce.Feedback: nobody,
	} {
		r := Make([]tally.Line{out("example.com", "10.0.0.7", tally.Unproven, kind, "", 1)}, 1, 20000, "")
		if len(r.Out.Words) != 1 || !strings.HasSuffix(r.Out.Words[0], " (1 left): "+want) {
			t.Errorf("%v: %q", kind, r.Out.Words)
		}
	}
	r := Make([]tally.Line{out("example.com", "10.0.0.7", tally.Stopped, bounce.Bounce, "", 2)}, 1, 20000, "")
	if len(r.Out.Words) != 1 || strings.Contains(r.Out.Words[0], "10.0.0.7") || r.Out.Rows[0].Stopped != 2 || len(r.Out.Rows[0].Kinds) != 0 {
		t.Errorf("what never left: %+v", r.Out)
	}
}

// TestManyServersAndSenders: the words stay few.
func TestManyServersAndSenders(t *testing.T) {
	var lines []tally.Line
	for i := range 12 {
		lines = append(lines,
			out("example.com", netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String(), tally.Unproven, bounce.Bounce, "", uint64(100-i)),
			in("example.com", tally.Unproven, bounce.AutoReply, "", string(rune('a'+i))+".example.net", uint64(100-i)))
	}
	r := Make(lines, 1, 20000, "")
	if n := len(r.Out.Words); n != 6 || !strings.HasPrefix(r.Out.Words[0], "10.0.0.0 ") || r.Out.Words[5] != "7 more servers did so: see the table" {
		t.Errorf("%d: %q", n, r.Out.Words)
	}
	if len(r.In.Words) != 2 || !strings.Contains(r.In.Words[1], "e.example.net (96 auto-replies), and 7 more;") {
		t.Errorf("%q", r.In.Words)
	}
}

// TestEveryWordIsKnown holds the report together with the packages whose words it reads: a kind or a verdict that is new there
// must be given its place here.
func TestEveryWordIsKnown(t *testing.T) {
	kinds := 0
	for k := bounce.Ordinary; k.String() != bounce.Kind(255).String(); k++ {
		kinds++
		w, ok := kindWords[k.String()]
		if !ok || w[0] == w[1] || !strings.Contains(w[0], strings.Split(k.String(), "-")[0]) {
			t.Errorf("the kind %v is called %q", k, w)
		}
	}
	if kinds != len(kindWords) {
		t.Errorf("%d kinds, %d have a name here", kinds, len(kindWords))
	}
	for _, v := range tally.Verdicts() {
		i := Make([]tally.Line{in("example.com", v, bounce.Bounce, "x", "", 1)}, 1, 20000, "").In.Rows[0]
		if total := i.Proven + i.Unproven + i.Exempt + i.Refused + i.Stopped + i.Unknown; total != 1 || i.Unknown != 0 && !slices.Contains([]string{tally.Unknown, tally.Redirected}, v) {
			t.Errorf("in, %s: %+v", v, i)
		}
		o := Make([]tally.Line{out("example.com", "", v, bounce.Bounce, "x", 1)}, 1, 20000, "").Out.Rows[0]
		if total := o.Proven + o.Unproven + o.Redirected + o.Refused + o.Stopped + o.Unknown; total != 1 || o.Unknown != 0 && !slices.Contains([]string{tally.Unknown, tally.Exempt}, v) {
			t.Errorf("out, %s: %+v", v, o)
		}
	}
}
