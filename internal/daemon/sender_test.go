package daemon_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestPostfixSends lets a Postfix bring mail to a Postfix behind the gateway. Known
// recipients get theirs whole; the unknown ones are bounced by the sender to its own
// user, and nothing of the kind goes through us.
func TestPostfixSends(t *testing.T) {
	behind := rig.StartPostfix(t, rig.PostfixOptions{})
	g := start(t, relayTo("smtp://"+behind.Addr, "", ""))
	sender := rig.StartPostfix(t, rig.PostfixOptions{Relay: g.addr})
	k := open(t, sender.Addr)
	body := hello("from a real peer") + "..two dots\r\n"
	say(t, k, "MAIL FROM:<ann@sender.example>", "250",
		"RCPT TO:<alice@example.com>", "250", "RCPT TO:<nobody@example.com>", "250",
		"RCPT TO:<bob@example.com>", "250", "RCPT TO:<ghost@example.com>", "250",
		"DATA", "354", strings.ReplaceAll(body, "\r\n.", "\r\n..")+".", "250")
	sender.Settle(t)
	behind.Settle(t)
	checkSent(t, behind.Store.Messages(), sender.Store.Messages(), body)
	for _, x := range []string{"nobody@example.com", "ghost@example.com"} {
		g.logged(t, `"msg":"refuse"`, `"to":"`+x+`"`, "550 5.1.1")
	}
}

// TestEximSends is the same with an Exim.
func TestEximSends(t *testing.T) {
	behind := rig.StartPostfix(t, rig.PostfixOptions{})
	g := start(t, relayTo("smtp://"+behind.Addr, "", ""))
	sender := rig.StartExim(t, rig.EximOptions{Relay: g.addr})
	k := open(t, sender.Addr)
	body := hello("from another real peer") + "..two dots\r\n"
	say(t, k, "MAIL FROM:<ann@sender.example>", "250",
		"RCPT TO:<alice@example.com>", "250", "RCPT TO:<nobody@example.com>", "250",
		"RCPT TO:<bob@example.com>", "250", "RCPT TO:<ghost@example.com>", "250",
		"DATA", "354", strings.ReplaceAll(body, "\r\n.", "\r\n..")+".", "250")
	sender.Settle(t)
	behind.Settle(t)
	_, text, _ := strings.Cut(body, "\r\n\r\n") // Exim puts fields of its own behind the header
	checkSent(t, behind.Store.Messages(), sender.Store.Messages(), "\r\n\r\n"+text)
}

// checkSent: alice and bob got the body whole, and the sender's own user one
// bounce that names the others, with our reply in it.
func checkSent(t *testing.T, behind, returned []mailtest.Message, body string) {
	t.Helper()
	var got []string
	for _, m := range behind {
		if m.From == "" {
			t.Errorf("a bounce went through the gateway: %v", m)
		}
		if !strings.HasSuffix(string(m.Body), body) {
			t.Errorf("the body is not what was sent: %q", m.Body)
		}
		for _, r := range m.To {
			got = append(got, r.Path)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"alice@example.com", "bob@example.com"}) {
		t.Errorf("delivered to %v", got)
	}
	if len(returned) != 1 || returned[0].From != "" || returned[0].To[0].Path != "ann@sender.example" {
		t.Fatalf("the sender should bounce once, to its own user: %v", returned)
	}
	for _, want := range []string{"nobody@example.com", "ghost@example.com", "User unknown", "5.1.1"} {
		if !strings.Contains(string(returned[0].Body), want) {
			t.Errorf("the sender's bounce does not say %q:\n%s", want, returned[0].Body)
		}
	}
}

// TestSwaksByHand is what somebody does first: a message whose octets matter
// arrives as it is, nobody is refused at RCPT.
func TestSwaksByHand(t *testing.T) {
	mailtest.Need(t, "swaks")
	behind := rig.StartPostfix(t, rig.PostfixOptions{})
	g := start(t, relayTo("smtp://"+behind.Addr, "", ""))
	message := "Subject: by hand\r\nX-Odd:\t  spaces  \r\n\r\n.dot\r\n..dots\r\n\r\n" +
		strings.Repeat("long ", 150) + "\r\ntrailing space \r\n\r\n\r\n"
	// swaks ends what it reads with a line end of its own.
	file := mailtest.WriteFile(t, t.TempDir(), "message", strings.ReplaceAll(strings.TrimSuffix(message, "\r\n"), "\r\n", "\n"))
	out, status := rig.Swaks(t, g.addr, "--from", "ann@sender.example", "--to", "alice@example.com", "--data", "@"+file)
	if status != 0 {
		t.Fatalf("swaks was refused:\n%s", out)
	}
	behind.Settle(t)
	body := one(t, behind.Store).Body
	if front, ok := mailtest.Carries(body, []byte(message)); !ok {
		t.Errorf("the message changed on its way; in front %q:\n%q\nsent:\n%q", front, body, message)
	}
	out, status = rig.Swaks(t, g.addr, "--from", "ann@sender.example", "--to", "nobody@example.com")
	if status == 0 || !strings.Contains(out, "550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown") {
		t.Errorf("nobody was not refused:\n%s", out)
	}
	if strings.Contains(out, "DATA") {
		t.Errorf("nobody got as far as DATA:\n%s", out)
	}
}

// TestSwaksOverTLS: swaks demands STARTTLS and gets it.
func TestSwaksOverTLS(t *testing.T) {
	mailtest.Need(t, "swaks")
	if _, status := rig.Run(t, "perl", "-MNet::SSLeay", "-e", "1"); status != 0 {
		mailtest.Absent(t, "swaks' TLS (Net::SSLeay)")
	}
	m := mailtest.NewMock(t, mailtest.Script{Users: rig.Users()})
	g := start(t, relayTo("smtp://"+m.Addr(), ownTLS(t), ""))
	out, status := rig.Swaks(t, g.addr, "--from", "ann@sender.example", "--to", "alice@example.com", "--tls")
	if status != 0 {
		t.Fatalf("swaks was refused:\n%s", out)
	}
	if !strings.Contains(string(one(t, m).Body), "with ESMTPS id ") {
		t.Error("the Received field does not say ESMTPS")
	}
}

// ownTLS is the line of the configuration for a certificate that nobody has signed but we.
func ownTLS(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	mailtest.WritePEM(t, dir, "front", mailtest.NewAuthority(t).Issue(t, "127.0.0.1"))
	for _, f := range []string{"front.pem", "front.key"} { // the key is for the owner's eyes
		if err := os.Chmod(filepath.Join(dir, f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return `tls = { certificate = "` + filepath.Join(dir, "front.pem") + `", key = "` + filepath.Join(dir, "front.key") + `" }`
}
