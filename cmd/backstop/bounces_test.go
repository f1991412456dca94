package main

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"backstop/internal/store/sqlite"
	"backstop/internal/tally"
)

func runMain(t *testing.T, args ...string) (code int, out, complaint string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

const bounceReport = `bounces and other automatic mail since DAY

in, to your users:
domain       kind     proven  unproven  exempt  refused  unknown  proven by  exempt by
example.com  bounce       12        41       5        0        0  seal 12    From:example.net 4, bounce_to 1
example.com  receipt       0         3       0        0        0
- enforcing would have refused 44 messages in 7 days; among them: 3 receipts, which people may miss
- these look legitimate, by the domain in their From: friend.example.org (3 receipts); name in bounces_exempt whom you know

unproven or refused, by the domain in From:
  spam.example.net    40  bounce 40
  friend.example.org   3  receipt 3  looks legitimate
  (none)               1  bounce 1

out, from your servers:
domain       server    proven  left unproven  redirected  refused  unknown  unproven were  proven by
example.com  10.0.0.7       0              0         312        0        0  bounce 312
- 10.0.0.7 (example.com) sent 312 bounces to people who never wrote, as far as anything proves (312 went to bounce_to): it accepts unknown users (make it refuse them at RCPT, or let Backstop ask it), or its users forward to where mail is refused
`

// TestBouncesOfAFolder: with no daemon the report is read from what one left.
func TestBouncesOfAFolder(t *testing.T) {
	for today := tally.DayOf(time.Now()); ; today = tally.DayOf(time.Now()) {
		played := bouncesOn(t, today)
		if tally.DayOf(time.Now()) == today { // or what was counted is yesterday's meanwhile
			played()
			return
		}
	}
}

// said is what a command came to.
type said struct {
	code          int
	out, complain string
}

// bouncesOn plays the commands, and gives the judgement of what they say.
func bouncesOn(t *testing.T, today tally.Day) (judge func()) {
	state := t.TempDir()
	if code, _, said := runMain(t, "bounces", "--state", state); code != 1 || !strings.HasPrefix(said, "backstop: no daemon is running with its state in ") {
		t.Errorf("of an empty folder: %d %q", code, said)
	}
	s, err := sqlite.Open(state, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	line := func(e tally.Entry, n uint64) tally.Line {
		e.Day, e.Domain = today, "example.com"
		return tally.Line{Entry: e, Count: n}
	}
	err = s.AddTally(t.Context(), []tally.Line{
		line(tally.Entry{Direction: tally.In, Verdict: tally.Proven, Kind: "bounce", By: "seal"}, 12),
		line(tally.Entry{Direction: tally.In, Verdict: tally.Exempt, Kind: "bounce", By: "From:example.net"}, 4),
		line(tally.Entry{Direction: tally.In, Verdict: tally.Exempt, Kind: "bounce", By: "bounce_to"}, 1),
		line(tally.Entry{Direction: tally.In, Verdict: tally.Unproven, Kind: "bounce", Sender: "spam.example.net"}, 40),
		line(tally.Entry{Direction: tally.In, Verdict: tally.Unproven, Kind: "receipt", Sender: "friend.example.org"}, 3),
		line(tally.Entry{Direction: tally.In, Verdict: tally.Unproven, Kind: "bounce"}, 1),
		line(tally.Entry{Direction: tally.Out, Server: netip.MustParseAddr("10.0.0.7"), Verdict: tally.Redirected, Kind: "bounce"}, 312),
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	play := func(args ...string) (s said) {
		s.code, s.out, s.complain = runMain(t, append([]string{"bounces", "--state", state}, args...)...)
		return s
	}
	whole, other, asJSON := play(), play("--days", "1", "--domain", "Example.ORG"), play("--json")
	return func() {
		t.Helper()
		if want := strings.Replace(bounceReport, "DAY", (today - 6).String(), 1); whole.code != 0 || whole.out != want {
			t.Errorf("%+v\nwant\n%s", whole, want)
		}
		if other.code != 0 || other.out != "nothing was counted of example.org since "+today.String()+": no bounce and no other automatic mail was judged\n" {
			t.Errorf("%+v", other)
		}
		if asJSON.code != 0 || !strings.HasPrefix(asJSON.out, `{"since":"`) || !strings.Contains(asJSON.out, `"would_refuse":44`) {
			t.Errorf("%+v", asJSON)
		}
	}
}

func TestBouncesMistakes(t *testing.T) {
	state := t.TempDir()
	s, err := sqlite.Open(state, slog.New(slog.DiscardHandler))
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	for args, complaint := range map[string]string{
		"--days 0":                    "backstop: 0 days cannot be reported\nbackstop: hint: the counts of 36 days are kept, today included\n",
		"--days x":                    "backstop: invalid argument \"x\" for \"--days\" flag: a whole number is wanted\nbackstop: hint: `backstop bounces --help` lists the flags\n",
		"--days 99999999999999999999": "backstop: invalid argument \"99999999999999999999\" for \"--days\" flag: that number is out of range\nbackstop: hint: `backstop bounces --help` lists the flags\n",
		"--json=maybe":                "backstop: invalid argument \"maybe\" for \"--json\" flag: true or false is wanted\nbackstop: hint: `backstop bounces --help` lists the flags\n",
		"--domain a..b":               "backstop: --domain: not a domain name: \"a..b\" has an empty label\nbackstop: hint: write it as example.com\n",
		"--days 7 bounce":             "backstop: bounces takes no argument, and \"bounce\" is one argument too many\nbackstop: hint: `backstop bounces --help` shows an example\n",
	} {
		if code, _, said := runMain(t, append([]string{"bounces", "--state", state}, strings.Fields(args)...)...); code != 1 || said != complaint {
			t.Errorf("%s: %d %q", args, code, said)
		}
	}
}
