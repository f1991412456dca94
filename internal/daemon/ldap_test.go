package daemon_test

import (
	"fmt"
	"testing"

	"backstop/internal/daemon"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestDirectoryServer: what becomes of a user in an OpenLDAP server decides his mail, at once
// where the server is asked, and after the next pull where a copy answers; the copy answers on
// while the server is away.
func TestDirectoryServer(t *testing.T) {
	ldap := rig.NewSlapd(t, rig.SlapdOptions{})
	m := mailtest.NewMock(t, mailtest.Script{})
	secret := mailtest.WriteFile(t, t.TempDir(), "secret", ldap.Password+"\n")
	source := func(name, more string) string {
		return fmt.Sprintf("[source.%s]\ntype = \"ldap\"\nurl = [\"ldap://127.0.0.1:1\", %q]\nbind_dn = %q\npassword_file = %q\nbase = %q\n"+
			"filter = \"(!(accountStatus=disabled))\"\n%s\n", name, ldap.URL(), ldap.Admin, secret, ldap.Base, more)
	}
	text := "state = \"" + t.TempDir() + "\"\n" + source("asked", "") + source("copied", "mode = \"sync\"\nevery = \"1h\"") +
		relayTo("smtp://"+m.Addr(), "", `recipients = ["asked"]`) +
		"[[domain]]\nname = \"example.org\"\nrelay = \"smtp://" + m.Addr() + "\"\nrecipients = [\"copied\"]\n"
	ldap.AddUser("ann", "mail: ann@example.com", "mail: ann@example.org")
	for i := range 9 { // so that one who leaves is no fifth of the domain
		ldap.AddUser(fmt.Sprintf("user%d", i), fmt.Sprintf("mail: user%d@example.org", i))
	}
	g := start(t, text)
	k := open(t, g.addr)
	// both says what both domains answer, before and after the next pull.
	both := func(who, asked, before, after string) {
		t.Helper()
		answer := map[bool]string{true: "250", false: missing}
		rcpt(t, k, who+"@example.com", answer[asked == "yes"])
		rcpt(t, k, who+"@example.org", answer[before == "yes"])
		if rs, err := g.Sync(t.Context(), []string{"copied"}, false); err != nil || rs[0].Error != "" || len(rs[0].Held) > 0 {
			t.Fatalf("%+v, %v", rs, err)
		}
		rcpt(t, k, who+"@example.org", answer[after == "yes"])
	}
	if _, err := g.Sync(t.Context(), nil, false); err != nil {
		t.Fatal(err)
	}
	both("ann", "yes", "yes", "yes")
	both("bob", "no", "no", "no")
	bob := ldap.AddUser("bob", "mail: bob@example.com", "proxyAddresses: SMTP:bob@example.org")
	both("bob", "yes", "no", "yes")
	ldap.Modify(bob, "add: proxyAddresses", "proxyAddresses: smtp:Bobby@example.com", "proxyAddresses: smtp:Bobby@example.org")
	both("bobby", "yes", "no", "yes")
	ldap.Modify(bob, "replace: accountStatus", "accountStatus: disabled")
	both("bob", "no", "yes", "no")
	ldap.Modify(bob, "delete: accountStatus")
	ldap.Rename(bob, "uid=robert")
	both("bob", "yes", "no", "yes")
	ldap.Delete("uid=robert," + ldap.Base)
	both("bob", "no", "yes", "no")

	ldap.Kill()
	rcpt(t, k, "ann@example.com", "250") // as far as anybody knows
	rcpt(t, k, "carl@example.com", "451 4.1.1")
	rcpt(t, k, "ann@example.org", "250")
	rcpt(t, k, "carl@example.org", missing)
	if rs, err := g.Sync(t.Context(), nil, false); err != nil || rs[0].Error == "" {
		t.Errorf("a pull without a server: %+v, %v", rs, err)
	}
	found, err := g.Lookup(t.Context(), address(t, "ann@example.org"), daemon.LookupOptions{})
	if err != nil || found.Standing != "exists" || found.Source != "copied" {
		t.Errorf("%+v, %v", found, err)
	}
	ldap.Start()
	if rs, err := g.Sync(t.Context(), nil, false); err != nil || rs[0].Error != "" {
		t.Errorf("a pull when it is back: %+v, %v", rs, err)
	}
	eventually(t, "the server is asked again", func() bool {
		found, err := g.Lookup(t.Context(), address(t, "carl@example.com"), daemon.LookupOptions{})
		return err == nil && found.Standing == "missing"
	})
}
