package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"backstop/internal/guide"
	"backstop/internal/mailtest"
)

// TestSetupDNS publishes a record as it was printed, and asks for it.
func TestSetupDNS(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mailtest.WriteFile(t, dir, "s1.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	d := mailtest.StartDNS(t, `_dmarc.example.com TXT "v=DMARC1; p=reject"`)
	d.Fail("example.com", mailtest.DNSServFail)
	file := mailtest.WriteFile(t, dir, "c.toml", fmt.Sprintf("state = \"\"\n[dns]\nresolvers = [%q]\n[[domain]]\nname = \"example.com\"\nrelay = \"smtp://127.0.0.1:9\"\ndkim = [{ selector = \"s1\", key = \"s1.pem\" }]\n", d.Addr()))

	now := func(want int) map[string]string {
		t.Helper()
		code, out, stderr := run(t, "setup", "dns", "--config", file, "--ask", "--json")
		var z guide.Zone
		if err := json.Unmarshal([]byte(out), &z); err != nil || code != want {
			t.Fatalf("exit %d, want %d, %v: %s%s", code, want, err, out, stderr)
		}
		m := map[string]string{}
		for _, r := range z.Records {
			m[r.Kind] = r.Now
			if r.Kind == "dkim" {
				m["zone"] = r.Zone
			}
		}
		return m
	}
	first := now(1) // one is missing
	if first["dkim"] != "missing" || first["spf"] != "unknown" || first["dmarc"] != "there" {
		t.Errorf("%v", first)
	}
	d.Add(first["zone"])
	if again := now(2); again["dkim"] != "published" {
		t.Errorf("%v", again)
	}
	code, out, _ := run(t, "setup", "dns", "--config", file, "--ask")
	for _, want := range []string{"\ns1._domainkey.example.com. IN TXT \"v=DKIM1; k=ed25519; p=", "; In the DNS now: published as it should be\n", "; DMARC. In the DNS now: there is one: \"v=DMARC1; p=reject\"\n", "; In the DNS now: cannot tell: "} {
		if code != 2 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s", code, want, out)
		}
	}
	for _, never := range []string{"publish it before", "p=none"} { // it is published, and there is a stricter one
		if strings.Contains(out, never) {
			t.Errorf("%q is in\n%s", never, out)
		}
	}
	d.Fail("example.com", mailtest.DNSWell)
	d.Add(`example.com TXT "v=spf1 mx -all"`)
	if all := now(0); all["spf"] != "there" {
		t.Errorf("%v", all)
	}
}
