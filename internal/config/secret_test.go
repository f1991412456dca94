package config

import (
	"bytes"
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

func TestSecretFile(t *testing.T) {
	surroundings(t)
	for name, content := range map[string]string{"empty": "\n", "two": "one\ntwo\n", "windows": "s3cret\r\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"secret":  "",
		"windows": "",
		"empty":   "password_file: empty is not a password file",
		"two":     "password_file: two is not a password file",
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
