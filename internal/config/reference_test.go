package config

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"backstop/internal/listen"
)

// TestReference holds the documentation against the tables of keys.
func TestReference(t *testing.T) {
	const path = "../../docs/configuration.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const end = "-update -->\n"
	i := strings.Index(string(data), end)
	if i < 0 {
		t.Fatalf("%s has lost the comment that says where the tables begin", path)
	}
	want := string(data[:i+len(end)]) + Reference()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(data) != want {
		t.Errorf("%s does not tell what the keys are now: go test ./internal/config -run TestReference -update", path)
	}
}

// TestEveryKeyIsDescribed keeps undocumented keys out.
func TestEveryKeyIsDescribed(t *testing.T) {
	var walk func(path string, keys []key)
	walk = func(path string, keys []key) {
		for _, k := range keys {
			if k.hidden {
				continue
			}
			if k.doc == "" || !k.isSection() && !k.required && k.def == "" && k.unset == "" {
				t.Errorf("%s%s says nothing about itself or its default", path, k.name)
			}
			walk(path+k.name+".", k.keys)
			for _, p := range k.parts {
				walk(path+k.name+".", p.keys)
			}
		}
	}
	walk("", (&Config{}).keys(&decoder{}))
}

// TestDocumentedExamples loads every configuration that the documentation shows.
func TestDocumentedExamples(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	surroundings(t)
	examples := strings.Split(string(data), "```toml\n")[1:]
	if len(examples) < 2 {
		t.Error("the examples are gone")
	}
	for _, e := range examples {
		e, _, _ = strings.Cut(e, "```")
		e = strings.NewReplacer("/etc/ssl/", "", "/etc/backstop/example.org", "users", "/etc/backstop/example.com", "users").Replace(e)
		if _, err := Parse("example.toml", []byte(e)); err != nil {
			t.Errorf("%s\n%s", e, printed(problems(t, err)))
		}
	}
}

// TestPackaged loads the configuration to start from, as it is, and with what it holds as comments.
func TestPackaged(t *testing.T) {
	data, err := os.ReadFile("../../packaging/backstop.toml")
	if err != nil {
		t.Fatal(err)
	}
	surroundings(t)
	if c := mustParse(t, string(data)); len(c.Warnings) > 0 {
		t.Errorf("it warns:\n%s", printed(c.Warnings))
	}
	key := regexp.MustCompile(`(?m)^# (\[[a-z.\[\]]+\]$|[a-z_]+ *= )`)
	files := strings.NewReplacer("/run/credentials/backstop.service/", "", "/etc/backstop/dkim/s1.pem", "rsa2048.pem", "/etc/backstop/example.org", "users", "/etc/backstop/", "")
	c := mustParse(t, files.Replace(key.ReplaceAllString(string(data), "$1")))
	if c.Outbound == nil || c.SRS.File == "" || c.SMTP.TLS == nil || len(c.Domains) != 3 || len(c.Domains[0].DKIM) != 1 {
		t.Error("its comments do not say what they seem to")
	}
	doors := strings.NewReplacer(`listen = ["0.0.0.0:25", "[::]:25"]`, "", "# [milter]", "[milter]", "# listen   =", "listen   =", "# internal =", "internal =",
		`relay = "smtp://mail.internal.example.com:25"`, `recipients = ["list:users"]`)
	if c := mustParse(t, doors.Replace(string(data))); len(c.SMTP.Listen) != 0 || c.Milter.Listen != (listen.Spec{Network: "tcp4", Address: "127.0.0.1:8891"}) {
		t.Error("beside an MTA it is not what its comments say")
	}
}
