package rig

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// Trick is one way to hide the end of a message from one server and show it to
// the next: octets that look like an end to some, and are none (RFC 5321, 4.1.1.4).
type Trick struct {
	Name string
	End  string
}

// Tricks returns every published one, and those that follow from them.
func Tricks() []Trick {
	var all []Trick
	add := func(ends ...string) {
		for _, e := range ends {
			all = append(all, Trick{strings.NewReplacer("\r", "CR", "\n", "LF", "\x00", "NUL", " ", "SP").Replace(e), e})
		}
	}
	lines := []string{"\r\n", "\n", "\r", "\r\r\n"}
	for _, before := range lines {
		for _, after := range lines {
			if before != "\r\n" || after != "\r\n" {
				add(before + "." + after)
			}
		}
	}
	add("\r\n\x00.\r\n", "\r\n.\x00\r\n", "\x00\r\n.\r\n", "\r\n.\r\x00\n", "\r\x00\n.\r\n", "\n\x00.\n",
		"\n\r.\r\n", "\r\n.\n\r", "\n.\n\r\n", "\r\n. \r\n", "\r\n .\r\n", "\r\n..\r\n", "\n..\n", "\r\n\r.\r\n", "\r\n.\r\r\n.\r\n")
	return all
}

// attempt is one trick as it was played.
type attempt struct {
	name    string
	replies []mailtest.Reply
}

// cutting says how the octets around the trick are cut into packets.
type cutting struct {
	name string
	at   func(trick string, i int) bool // whether a packet ends before octet i
}

var (
	whole  = cutting{"whole", func(string, int) bool { return false }}
	single = cutting{"octet by octet", func(string, int) bool { return true }}
)

func cutAt(n int) cutting {
	return cutting{fmt.Sprintf("cut at %d", n), func(_ string, i int) bool { return i == n }}
}

const (
	innocent = "ann@client.test"
	smuggler = "evil@client.test"
)

// play sends a message with the trick inside and, behind the trick, commands for
// a second message. It returns when the server has hung up, or has answered
// QUIT after the true end.
func (k Trick) play(t testing.TB, addr string, cut cutting) attempt {
	t.Helper()
	s := mailtest.Dial(t, addr)
	defer s.Close()
	s.Expect(t, "220", k.Name)
	s.Ask(t, "EHLO client.test")
	s.Ask(t, "MAIL FROM:<"+innocent+">")
	s.Ask(t, "RCPT TO:<alice@"+Domain+">")
	if r := s.Ask(t, "DATA"); r.Code != 354 {
		t.Fatalf("%s: DATA: %s", k.Name, r)
	}
	text := "Subject: outer\r\n\r\nfirst" + k.End +
		"MAIL FROM:<" + smuggler + ">\r\nRCPT TO:<alice@" + Domain + ">\r\nDATA\r\nSubject: inner\r\n\r\nsecond\r\n.\r\nQUIT\r\n"
	begin := strings.Index(text, k.End) - 1
	start := 0
	for i := begin; i <= begin+len(k.End)+2; i++ {
		if cut.at(k.End, i-begin) {
			if s.Send(text[start:i]) != nil {
				break // it has hung up already; what it said is read below
			}
			start = i
		}
	}
	s.Send(text[start:])
	a := attempt{name: k.Name + ", " + cut.name}
	for {
		r, err := s.Reply()
		if err != nil || r.Code == 221 {
			return a
		}
		a.replies = append(a.replies, r)
	}
}

// smuggled says whether a message arrived that its sender did not send: one from
// the second envelope, or more than one, or one that ends at the trick.
func (a attempt) smuggled(held []mailtest.Message) bool {
	return len(held) > 1 || slices.ContainsFunc(held, func(m mailtest.Message) bool {
		return m.From == smuggler || !bytes.Contains(m.Body, []byte("second"))
	})
}

func heldNow(m *mailtest.Mock) []mailtest.Message {
	return slices.DeleteFunc(m.Messages(), func(x mailtest.Message) bool { return !x.Kept })
}

// PlaySmuggling plays every trick through the gateway, whole, octet by octet and
// cut in two at every place, in front of a mock that falls for all of them, and
// whole in front of the real servers of these kinds. Nothing may be smuggled, and
// a mock behind must not even see a bare CR or LF.
func PlaySmuggling(t *testing.T, kinds []Kind, front Front) {
	t.Run("lenient", func(t *testing.T) {
		m := mailtest.NewMock(t, mailtest.Script{Lenient: true, Users: Users()})
		p := &Peer{Name: "mock", Addr: m.Addr(), Mock: m, Forget: m.Forget}
		addr := front(t, p)
		for _, k := range Tricks() {
			cuts := []cutting{whole, single}
			for i := 1; i <= len(k.End)+2; i++ {
				cuts = append(cuts, cutAt(i))
			}
			for _, cut := range cuts {
				m.Forget()
				check(t, k.play(t, addr, cut), heldNow(m))
				for _, w := range m.Wires() {
					if bytes.ContainsAny(bytes.ReplaceAll(w.In, []byte("\r\n"), nil), "\r\n\x00") {
						t.Errorf("%s, %s: the downstream was sent a bare CR, bare LF or NUL: %q", k.Name, cut.name, w.In)
					}
				}
			}
		}
	})
	for _, k := range kinds {
		t.Run(k.Name, func(t *testing.T) {
			p := k.Open(t)
			addr := front(t, p)
			for _, trick := range Tricks() {
				p.Forget()
				a := trick.play(t, addr, whole)
				if p.Held != nil {
					check(t, a, p.Held(t, 0))
				} else {
					check(t, a, heldNow(p.Mock))
				}
			}
		})
	}
}

func check(t *testing.T, a attempt, held []mailtest.Message) {
	t.Helper()
	if a.smuggled(held) {
		t.Errorf("%s: smuggled; the sender was told %v, the downstream holds %v", a.name, a.replies, held)
	}
}
