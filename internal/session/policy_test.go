package session

import (
	"net/netip"
	"strings"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// policies are an operator's files, and what they were asked.
type policies struct {
	client, sender evidence.Policy
	asked          []string
}

func (p *policies) Client(addr netip.Addr, name string) evidence.Policy {
	p.asked = append(p.asked, addr.String()+" "+name)
	return p.client
}

func (p *policies) Sender(from mail.Address) evidence.Policy {
	p.asked = append(p.asked, from.String())
	return p.sender
}

func sender(t testing.TB, s string) mail.ReversePath {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return mail.ReversePath{Address: a}
}

func talk(t testing.TB, p Policies, mode evidence.Mode) *Session {
	t.Helper()
	s := New(Config{Hostname: "mx.test", Policies: p, Mode: mode}).Begin(t.Context(), evidence.DoorSMTP, evidence.Client{Addr: netip.MustParseAddr("192.0.2.1"), Name: "client.test"})
	t.Cleanup(s.Close)
	return s
}

// TestPolicies: files are asked once at the connection and once at MAIL, never about the null
// sender, and what they said of one sender is forgotten with him.
func TestPolicies(t *testing.T) {
	p := &policies{sender: evidence.Policy{Word: evidence.Refused, File: "access", Line: 1}}
	s := talk(t, p, evidence.Enforce)
	if v := s.Connect(false, false); v.Effect != verdict.Accept {
		t.Errorf("connect: %v", v.Reply)
	}
	s.Helo("client.test", "ESMTP", false)
	if v := s.Mail(sender(t, "ann@sender.test"), smtp.MailParams{}); v.Effect != verdict.Refuse || v.Rule != verdict.SenderForged {
		t.Errorf("mail: %v %v", v.Rule, v.Reply)
	}
	// What was answered to MAIL is not answered to the next command as well.
	if v := s.Violation(evidence.FaultBareLF, false); v.Rule != verdict.MessageLines {
		t.Errorf("a bad line after it: %v %v", v.Rule, v.Reply)
	}
	if v := s.Mail(mail.ReversePath{}, smtp.MailParams{}); v.Effect != verdict.Accept || s.c.SenderPolicy != (evidence.Policy{}) {
		t.Errorf("the null sender: %v, and known is %+v", v.Reply, s.c.SenderPolicy)
	}
	if got := strings.Join(p.asked, ", "); got != "192.0.2.1 client.test, ann@sender.test" {
		t.Errorf("asked: %s", got)
	}
	p.client = evidence.Policy{Word: evidence.Deferred, File: "access", Line: 2}
	if v := talk(t, p, evidence.Enforce).Connect(false, false); v.Effect != verdict.Defer || v.Rule != verdict.ClientBlocked {
		t.Errorf("a client: %v %v", v.Rule, v.Reply)
	}
}

// TestPoliciesWatched: in watch mode they say what they would have done.
func TestPoliciesWatched(t *testing.T) {
	no := evidence.Policy{Word: evidence.Refused, File: "access", Line: 1}
	s := talk(t, &policies{client: no, sender: no}, evidence.Watch)
	for want, v := range map[verdict.Rule]verdict.Verdict{
		verdict.ClientBlocked: s.Connect(false, false), verdict.SenderForged: s.Mail(sender(t, "ann@sender.test"), smtp.MailParams{}),
	} {
		if watched, _ := v.Watched(); v.Effect != verdict.Accept || watched != want {
			t.Errorf("%v: %v, watched %v", want, v.Effect, watched)
		}
	}
}

// fixed are files that always say the same, and keep no record of it.
type fixed struct{ sender evidence.Policy }

func (fixed) Client(netip.Addr, string) evidence.Policy   { return evidence.Policy{} }
func (f *fixed) Sender(from mail.Address) evidence.Policy { return f.sender }

// TestRefusedSenderAllocatesNothing, whether there are such files or none.
func TestRefusedSenderAllocatesNothing(t *testing.T) {
	said := mail.MustReply(550, "5.7.1", "not you")
	from := sender(t, "ann@sender.test")
	for name, p := range map[string]Policies{
		"no files": nil, "nothing said": &fixed{},
		"refused": &fixed{evidence.Policy{Word: evidence.Refused, File: "access", Line: 1, Reply: said}},
	} {
		s := talk(t, p, evidence.Enforce)
		var out []byte
		s.Mail(from, smtp.MailParams{})
		if n := testing.AllocsPerRun(100, func() {
			s.Connect(false, false)
			v := s.Mail(from, smtp.MailParams{})
			out = v.Reply.AppendWire(out[:0])
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestPoliciesOfOurs: lines about senders are against outsiders, and our own servers are none.
func TestPoliciesOfOurs(t *testing.T) {
	p := &policies{sender: evidence.Policy{Word: evidence.Refused, File: "access", Line: 1}}
	out := &Outbound{Allowed: func(netip.Addr) bool { return true }}
	s := New(Config{Hostname: "mx.test", Policies: p, Outbound: out}).Begin(t.Context(), evidence.DoorOutbound, evidence.Client{Addr: netip.MustParseAddr("192.0.2.1")})
	defer s.Close()
	if v := s.Mail(sender(t, "ann@example.org"), smtp.MailParams{}); v.Effect != verdict.Accept || len(p.asked) > 0 {
		t.Errorf("%v by %v, asked %v", v.Effect, v.Rule, p.asked)
	}
}
