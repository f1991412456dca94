package daemon_test

import (
	"errors"
	"fmt"
	"testing"

	"backstop/internal/mailtest"
)

// TestFlood: two hundred connections ask for nobody, over and over, while good mail
// comes in. All of it is taken, and nothing is lost or made up.
func TestFlood(t *testing.T) {
	const connections, turns, good = 200, 25, 8
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	g := start(t, relayTo("smtp://"+m.Addr(), "per_client = 0", ""))
	wrong := make(chan error, connections)
	began := make(chan struct{}, connections)
	for i := range connections {
		go func() { wrong <- flood(g.addr, i, turns, began) }()
	}
	<-began
	var all ledger
	over := make(chan struct{})
	senders := all.pour(g.addr, "good", good, over)
	for range connections {
		if err := <-wrong; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "good mail passes", func() bool { return all.taken() >= good })
	close(over)
	senders.Wait()
	for _, s := range all.sent {
		if len(s.Codes) != 1 || s.Codes[0] != 250 {
			t.Errorf("good mail was answered %v", s.Codes)
		}
	}
	mailtest.CheckOwned(t, all.sent, m.Messages())
	// Sessions that begin at the same instant each ask with their own RCPT, as the cut-through
	// does; once one of them has its answer nobody asks again.
	if n := m.Asked("RCPT TO:<ghost0-0@"); n > connections {
		t.Errorf("the downstream was asked %d times for the same nobody", n)
	}
	t.Logf("%d refusals, %d messages taken", connections*turns, all.ok)
}

// flood is one connection of the flood. Half of its nobodies are its own, the
// others those of everybody.
func flood(addr string, i, turns int, began chan<- struct{}) error {
	nc, err := dialNet(addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	k := mailtest.NewTalk(nc)
	ask := func(line, want string) error {
		if line != "" {
			if err := k.Send(line + "\r\n"); err != nil {
				return err
			}
		}
		r, err := k.Reply()
		if err == nil && fmt.Sprint(r.Code) != want {
			err = fmt.Errorf("%s: %q", line, r)
		}
		return err
	}
	if err := errors.Join(ask("", "220"), ask("EHLO flood.example", "250")); err != nil {
		return err
	}
	began <- struct{}{}
	for n := range turns {
		who := fmt.Sprintf("ghost%d-%d", i*(n%2), n)
		err := errors.Join(ask("MAIL FROM:<victim@sender.example>", "250"), ask("RCPT TO:<"+who+"@example.com>", "550"),
			ask("DATA", "554"), ask("RSET", "250"))
		if err != nil {
			return err
		}
	}
	return ask("QUIT", "221")
}
