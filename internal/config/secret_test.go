package config

import (
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
)

func TestSecretIsNeverShown(t *testing.T) {
	s := struct {
		Name     string
		Password Secret
	}{"bob", NewSecret("geheim")}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v %+v %#v %s %q %x %d %v\n", s, s, s, s.Password, s.Password, s.Password, s.Password, &s)
	fmt.Fprintln(&b, s.Password.String())
	if err := json.NewEncoder(&b).Encode(s); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "password", s.Password, "all", s)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "password", s.Password, "all", s)
	if out := b.String(); strings.Contains(out, "geheim") || strings.Contains(out, fmt.Sprintf("%x", "geheim")) || !strings.Contains(out, hidden) {
		t.Errorf("the secret is shown, or nothing instead:\n%s", out)
	}
	if s.Password.Reveal() != "geheim" || s.Password.IsZero() || (Secret{}).String() != "" {
		t.Error("the secret cannot be used")
	}
}

// TestKeysAreNeverShown: whatever prints a configuration prints no key of it.
func TestKeysAreNeverShown(t *testing.T) {
	surroundings(t)
	c := mustParse(t, "[outbound]\nlisten = [\":2526\"]\nclients = [\"10.0.0.1\"]\nrelay = \"smtp://127.0.0.1:10025\"\nusername = \"u\"\npassword_file = \"postsrsd.one\"\n"+
		"[srs]\nsecret_file = \"postsrsd.one\"\n[[domain]]\nname = \"example.com\"\nrelay = \"smtp://h\"\ndkim = [{ selector = \"s1\", key = \"rsa2048.pem\" }]\n")
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v %+v %#v %s %x %d\n", *c, *c, *c, c.SRS, c.SRS, c.Domains[0].DKIM)
	fmt.Fprintf(&b, "%v %+v %#v %s %x\n", *c.Outbound, *c.Outbound, *c.Outbound, c.Outbound.Password, c.Outbound)
	all := []any{c.SRS, *c.Outbound, c.Domains[0].DKIM}
	if err := json.NewEncoder(&b).Encode(all); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "all", all)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "srs", c.SRS, "key", c.Domains[0].DKIM[0])
	private := c.Domains[0].DKIM[0].Key.(*rsa.PrivateKey)
	for _, word := range []string{"geheim", fmt.Sprintf("%x", "geheim"), fmt.Sprint([]byte("geheim")), "Primes", private.D.String(), private.D.Text(16)} {
		if strings.Contains(b.String(), word) {
			t.Errorf("%.20q is shown:\n%s", word, b.String())
		}
	}
}

func TestSecretFile(t *testing.T) {
	surroundings(t)
	for name, content := range map[string]string{"empty": "\n", "two": "one\ntwo\n", "windows": "s3cret\r\n", "large": strings.Repeat("x", maxSecret+1)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"secret":  "",
		"windows": "",
		"empty":   "password_file: empty is not a password file",
		"two":     "password_file: two is not a password file",
		"large":   "password_file: large is too large",
		"none":    "password_file: cannot read none: no such file or directory",
		"folder":  "password_file: cannot read folder: is a directory",
		"":        "password_file: this may not be empty",
	} {
		var s Secret
		d := &decoder{key: "password_file", dir: "."}
		secretFile(&s)(d, &node{kind: kindText, text: path})
		switch {
		case want == "" && (len(d.problems) > 0 || s.Reveal() != "s3cret"):
			t.Errorf("%s: %v, %q", path, d.problems, s.Reveal())
		case want != "" && (len(d.problems) != 1 || d.problems[0].Message != want || !s.IsZero()):
			t.Errorf("%s: %v, want %q", path, d.problems, want)
		}
	}
}
