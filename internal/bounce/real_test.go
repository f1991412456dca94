package bounce_test

import (
	"strings"
	"testing"

	"backstop/internal/bounce"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// seal is a header of ours as the world brings it back, folded.
const seal = "Backstop-Seal: v=1; k=1; t=1795338000;\r\n\ts=c2VhbCBvZiBhIGxldHRlcg\r\n"

// sending is a real server that was given mail for somebody who does not exist elsewhere.
type sending struct {
	addr   string
	store  *mailtest.Mock // gets the bounces
	log    func() string
	settle func(testing.TB)
}

// TestRealBounces reads what real servers write when another one refuses a recipient: of a short letter, of one that
// is so long that only its header comes back, and of one whose sender wants no more than that.
func TestRealBounces(t *testing.T) {
	t.Run("postfix", func(t *testing.T) {
		m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}, Extensions: []string{"PIPELINING"}}) // no DSN: Postfix itself tells of success
		p := rig.StartPostfix(t, rig.PostfixOptions{Relay: m.Addr()})
		judgeReal(t, sending{p.Addr, p.Store, p.Log, p.Settle}, bounce.ClueReport)
		success(t, p)
	})
	t.Run("exim", func(t *testing.T) {
		m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
		x := rig.StartExim(t, rig.EximOptions{Relay: m.Addr()})
		judgeReal(t, sending{x.Addr, x.Store, x.Log, x.Settle}, bounce.ClueReport)
	})
}

func judgeReal(t *testing.T, s sending, clue bounce.Clue) {
	head := seal + "Message-ID: <real-1@client.test>\r\nFrom: Ann <ann@client.test>\r\nTo: nobody@example.com\r\nSubject: A letter\r\n\r\n"
	for i, c := range []struct{ name, ret, body string }{
		{"short", "", "Hello\r\n.\r\nBackstop-Seal: of the body\r\n"},
		{"long", "", strings.Repeat(strings.Repeat("x", 70)+"\r\n", 3000)},
		{"headers only", " RET=HDRS", "Hello\r\n"},
	} {
		k := mailtest.Dial(t, s.addr)
		k.Expect(t, "220", "banner")
		if greeting := k.Ask(t, "EHLO x.test"); !strings.Contains(greeting.Text(), "DSN") {
			c.ret = ""
		}
		k.Ask(t, "MAIL FROM:<ann@client.test>"+c.ret)
		k.Ask(t, "RCPT TO:<nobody@example.com>")
		k.Ask(t, "DATA")
		k.Send(strings.ReplaceAll(head+c.body, "\r\n.", "\r\n..") + ".\r\n")
		k.Expect(t, "250", c.name)
		s.settle(t)
		got := s.store.Messages()
		if len(got) != i+1 {
			t.Fatalf("%s: %d bounces\n%s", c.name, len(got), s.log())
		}
		raw := got[i].Body
		r := bounce.Recognise(raw, got[i].From == "")
		if r.Kind != bounce.Bounce || r.Action != bounce.Failed || r.Clue != clue {
			t.Errorf("%s: %v, %v by %v\n%s", c.name, r.Kind, r.Action, r.Clue, raw)
		}
		if r.Returned.Get("Backstop-Seal") != "v=1; k=1; t=1795338000;\ts=c2VhbCBvZiBhIGxldHRlcg" || r.Returned.Get("Message-ID") != "<real-1@client.test>" {
			t.Errorf("%s: returned:\n%s", c.name, r.Returned.Raw())
		}
		if len(r.Recipients) != 1 || r.Recipients[0].Address() != "nobody@example.com" || !strings.HasPrefix(r.Recipients[0].Status, "5.") {
			t.Errorf("%s: recipients %+v", c.name, r.Recipients)
		}
		if alone := bounce.Recognise(raw, false); alone.Kind != bounce.Bounce {
			t.Errorf("%s: without its envelope it is %v", c.name, alone.Kind)
		}
	}
}

// success asks for a notice of success (RFC 3461), which nobody is to take for a failure.
func success(t *testing.T, p *rig.Postfix) {
	before := len(p.Store.Messages())
	k := mailtest.Dial(t, p.Addr)
	k.Expect(t, "220", "banner")
	k.Ask(t, "EHLO x.test")
	k.Ask(t, "MAIL FROM:<ann@client.test> RET=HDRS")
	k.Ask(t, "RCPT TO:<alice@example.com> NOTIFY=SUCCESS ORCPT=rfc822;alias@example.com")
	k.Ask(t, "DATA")
	k.Send(seal + "Subject: A letter\r\n\r\nHello\r\n.\r\n")
	k.Expect(t, "250", "success")
	p.Settle(t)
	got := p.Store.Messages()
	if len(got) != before+1 {
		t.Fatalf("%d notices\n%s", len(got)-before, p.Log())
	}
	r := bounce.Recognise(got[before].Body, true)
	if r.Kind != bounce.Bounce || r.Action != bounce.Relayed || r.Returned.Get("backstop-seal") == "" {
		t.Errorf("%v, %v by %v\n%s", r.Kind, r.Action, r.Clue, got[before].Body)
	}
	if len(r.Recipients) != 1 || r.Recipients[0].Original != "alias@example.com" || r.Recipients[0].Final != "alice@example.com" {
		t.Errorf("recipients %+v", r.Recipients)
	}
}
