package seal_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"backstop/internal/batv"
	"backstop/internal/keyring"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
	"backstop/internal/seal"
)

// returned are the headers of our message in a bounce that returns it whole, or its headers:
// everything from its first field to the next empty line.
func returned(t *testing.T, bounce []byte) []byte {
	t.Helper()
	i := bytes.LastIndex(bounce, []byte("X-First: 1"))
	if i < 0 {
		t.Fatalf("our message is not returned in\n%s", bounce)
	}
	return bounce[i:]
}

// TestRealBounces lets real servers bounce a tagged and sealed message: the bounce comes to the tagged address, and
// the fields in what it returns prove its sender, and nobody else.
func TestRealBounces(t *testing.T) {
	now := time.Now()
	keys, err := keyring.New(keyring.Key{ID: 3, Secret: keyring.Secret("secret"), SignsFrom: now.AddDate(0, 0, -3)})
	if err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]func(t *testing.T, relay string) (addr string, store *mailtest.Mock, settle func(testing.TB)){
		"postfix": func(t *testing.T, relay string) (string, *mailtest.Mock, func(testing.TB)) {
			p := rig.StartPostfix(t, rig.PostfixOptions{Relay: relay})
			return p.Addr, p.Store, p.Settle
		},
		"exim": func(t *testing.T, relay string) (string, *mailtest.Mock, func(testing.TB)) {
			x := rig.StartExim(t, rig.EximOptions{Relay: relay})
			return x.Addr, x.Store, x.Settle
		},
	} {
		t.Run(name, func(t *testing.T) {
			knowsNobody := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
			addr, store, settle := start(t, knowsNobody.Addr())
			senders := []string{"Ann.Lee@client.test", `"a b"@client.test`, "a+b=c@client.test"}
			for _, s := range senders {
				sender := parse(t, s)
				tagged, done := batv.Sign(keys, sender, now)
				if done != batv.Signed {
					t.Fatal(done)
				}
				sealed, _ := seal.Seal(keys, sender, now)
				origin, _ := seal.Origin(keys, seal.Proof{SPF: seal.PermError, DKIM: seal.PermError, DMARC: seal.Pass, Aligned: true}, sender, now)
				deliver(t, addr, tagged.String(), "X-First: 1\r\n"+sealed+"Subject: "+strings.Repeat("a long one ", 12)+"\r\n"+origin+"From: x@client.test\r\n\r\nhello\r\n")
			}
			store.Wait(t, "the bounces", func(m *mailtest.Mock) bool { return len(m.Messages()) == len(senders) })
			settle(t)
			for _, m := range store.Messages() {
				to := batv.Verify(keys, parse(t, m.To[0].Path), now)
				if m.From != "" || to.Standing != batv.Valid {
					t.Errorf("from <%s> to <%s>: %+v", m.From, m.To[0].Path, to)
				}
				header := returned(t, m.Body)
				seals, origins := seal.Values(header, seal.SealName), seal.Values(header, seal.OriginName)
				if f := seal.VerifySeal(keys, seals, to.Address, now); f.Standing != seal.Valid {
					t.Errorf("<%s>: %q: %+v", m.To[0].Path, seals, f)
				}
				if f, p := seal.VerifyOrigin(keys, origins, to.Address, now); f.Standing != seal.Valid || !p.Proves() {
					t.Errorf("<%s>: %q: %+v, %+v", m.To[0].Path, origins, f, p)
				}
				if f := seal.VerifySeal(keys, seals, parse(t, "other@client.test"), now); f.Standing != seal.Forged {
					t.Errorf("%q, for another: %+v", seals, f)
				}
			}
		})
	}
}

func parse(t *testing.T, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func deliver(t *testing.T, addr, from, message string) {
	t.Helper()
	k := mailtest.Dial(t, addr)
	defer k.Close()
	k.Expect(t, "220", "banner")
	for _, step := range []struct{ say, want string }{
		{"EHLO client.test", "250"}, {"MAIL FROM:<" + from + ">", "250"}, {"RCPT TO:<nobody@example.com>", "250"}, {"DATA", "354"}, {message + ".", "250"},
	} {
		if r := k.Ask(t, step.say); !strings.HasPrefix(r.String(), step.want) {
			t.Fatalf("%s: %s", step.say, r)
		}
	}
}
