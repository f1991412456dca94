package session

import (
	"net/netip"
	"slices"
	"testing"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/tally"
)

// TestExplainMessage: a message is judged as it would be, nothing is delivered, and nothing is counted.
func TestExplainMessage(t *testing.T) {
	for _, tc := range []struct {
		name, from, to string
		client         netip.Addr
		outbound       bool
		text           func(w *world) string
		verdict, rule  string
		stage          string
	}{
		{"a bounce that nothing proves", "", "bob@example.org", stranger, false, func(*world) string { return bounceOf(letterHead) }, "refuse", "bounce-not-ours", "data"},
		{"one with a seal", "", "bob@example.org", stranger, false, func(w *world) string { return bounceOf(w.sealed("bob@example.org", w.now)) }, "accept", "accepted", "data"},
		{"an outsider who claims a domain", "bob@example.org", "carol@example.org", stranger, false, func(*world) string { return "\r\n" }, "refuse", "sender-forged", "mail"},
		{"what DMARC refuses", "ann@far.example", "bob@example.org", stranger, false, func(*world) string { return "From: a@bank.example\n\nHello.\n" }, "refuse", "dmarc", "data"},
		{"what leaves and must not", "", "victim@far.example", server, true, func(*world) string { return bounceOf("") }, "redirect", "bounce-unproven", "data"},
		{"what leaves", "bob@example.org", "ann@far.example", server, true, func(*world) string { return letterHead + "\r\nHello.\r\n" }, "accept", "accepted", "data"},
		{"who may not send through it", "bob@example.org", "ann@far.example", stranger, true, func(*world) string { return "\r\n" }, "refuse", "client-blocked", "connect"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.strict()
			w.org.Forged, w.org.Guards.DMARC, w.org.BounceTo = true, evidence.CheckRefuse, addr(t, "kept@example.org")
			w.auth.dmarc = evidence.DMARC{Result: evidence.Fail, Policy: evidence.PolicyReject}
			if tc.verdict == "accept" {
				w.auth.dmarc = evidence.DMARC{Result: evidence.Pass}
			}
			w.cfg.Tally = tally.New(tally.Config{Now: w.clock})
			t.Cleanup(func() { w.cfg.Tally.Close() })
			x := New(w.cfg).Explain(t.Context(), Question{
				Client: tc.client, From: path(t, tc.from), To: []mail.Address{addr(t, tc.to)}, Message: []byte(tc.text(w)), Outbound: tc.outbound,
			})
			if x.Verdict != tc.verdict || x.Rule != tc.rule || x.Stage != tc.stage {
				t.Fatalf("%s by %s at %s: %+v", x.Verdict, x.Rule, x.Stage, x.Trail)
			}
			if i := slices.IndexFunc(x.Trail, func(s StepExplained) bool { return s.Rule == tc.rule && s.Effect == tc.verdict }); i < 0 {
				t.Errorf("the trail does not show it: %+v", x.Trail)
			}
			lines, err := w.cfg.Tally.Report(t.Context(), w.now)
			if err != nil || len(lines)+len(w.near.Messages())+len(w.far.Messages())+w.near.Asked("MAIL")+w.far.Asked("MAIL") != 0 {
				t.Errorf("something was done: %v %v", lines, err)
			}
		})
	}
}

// TestExplainAsksNobody: what would have to be asked is then not known, and nothing is refused for it for good.
func TestExplainAsksNobody(t *testing.T) {
	w := newWorld(t)
	w.org.Forged, w.org.Guards = true, evidence.Guards{SPF: evidence.CheckRefuse, DMARC: evidence.CheckRefuse}
	w.auth.spf, w.auth.dmarc = evidence.Fail, evidence.DMARC{Result: evidence.Fail, Policy: evidence.PolicyReject}
	w.org.Chain = directory.NewChain("example.org", directory.Member{Source: directory.Anybody{}})
	for from, want := range map[string]string{"bob@example.org": "defer", "ann@far.example": "accept"} {
		x := New(w.cfg).Explain(t.Context(), Question{
			Client: stranger, From: path(t, from), To: []mail.Address{addr(t, "bob@example.org")}, Message: []byte("From: a@bank.example\r\n\r\n"), NoAsk: true,
		})
		if x.Verdict != want || len(w.auth.asked) != 0 {
			t.Errorf("%s: %s by %s, asked %v", from, x.Verdict, x.Rule, w.auth.asked)
		}
	}
}
