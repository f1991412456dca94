package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/srs"
)

// TestSRS: a bounce to an address that our forwarder made comes in and goes where it is sent on, the
// server behind or the outbound relay; an address that nobody here made is refused.
func TestSRS(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "postsrsd.secret")
	if err := os.WriteFile(secret, []byte("a secret of the forwarder\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rewriter, err := srs.New(srs.Options{Domain: "example.com", Secrets: [][]byte{[]byte("a secret of the forwarder")}})
	if err != nil {
		t.Fatal(err)
	}
	carl, err := mail.ParseAddress("carl@remote.example")
	if err != nil {
		t.Fatal(err)
	}
	made := func(ago time.Duration) string {
		a, _ := rewriter.Forward(carl, time.Now().Add(-ago))
		return a.String()
	}
	good := made(0)
	for _, reverse := range []bool{false, true} {
		near := mailtest.NewMock(t, mailtest.Script{})
		out := mailtest.NewMock(t, mailtest.Script{})
		g := start(t, relayTo("smtp://"+near.Addr(), `listen = ["127.0.0.1:0"]`, "recipients = [\"list:"+listOf(t, "alice")+"\"]\nbounces = \"enforce\"")+
			fmt.Sprintf("[srs]\nsecret_file = %q\nreverse = %v\n", secret, reverse)+
			"[outbound]\nlisten = [\"127.0.0.1:0\"]\nclients = [\"127.0.0.9/32\"]\nrelay = \"smtp://"+out.Addr()+"\"\n")
		// The forwarder sends it on through us, and where it bounces what we wrote comes back.
		k := dialFrom(t, g.Addrs()["outbound"][0].String(), "127.0.0.9")
		k.Expect(t, "220", "banner")
		say(t, k, "EHLO forwarder.example", "250")
		send(t, k, good, "dora@other.example", "From: carl@remote.example\r\n"+hello("forwarded"), "250")
		head, _, _ := strings.Cut(string(one(t, out).Body), "\r\n\r\n")
		out.Forget()
		k = open(t, g.addr)
		const guessed = "From: MAILER-DAEMON@other.example\r\nSubject: Undelivered\r\n\r\nsorry\r\n"
		if reverse { // four digits are guessed: the address alone makes no way through us
			send(t, k, "", good, guessed, "550 5.7.1")
		} else {
			send(t, k, "", good, guessed, "250")
			near.Forget()
		}
		send(t, k, "", good, "From: MAILER-DAEMON@other.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"+
			"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; other.example\r\n\r\nFinal-Recipient: rfc822; dora@other.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"+
			"--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"+head+"\r\n\r\n--b--\r\n", "250")
		at, path := near, good
		if reverse {
			at, path = out, carl.String()
		}
		if m := one(t, at); m.To[0].Path != path {
			t.Errorf("reverse = %v: it went to %v", reverse, m.To)
		}
		for _, to := range []string{strings.Replace(good, "carl", "cara", 1), made(23 * 24 * time.Hour), "SRS0=abcd=ef=nonsense@example.com"} {
			say(t, k, "MAIL FROM:<>", "250", "RCPT TO:<"+to+">", "550 5.7.1", "RSET", "250")
		}
		// Who is no bounce is not relayed to a stranger on the word of an address.
		say(t, k, "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<"+good+">", "250", "RSET", "250")
		if n := len(out.Messages()); reverse && n > 1 {
			t.Errorf("the outbound relay was given %d messages", n)
		}
	}
}

func listOf(t testing.TB, users ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte(strings.Join(users, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
