package config

import (
	"os"
	"path/filepath"
	"testing"
)

// TestStateOf: the folder is found in a file that is otherwise wrong, and never guessed.
func TestStateOf(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "backstop.toml")
	for text, want := range map[string]string{
		"state = \"kept\"\n[smtp]\nlisten = 25\n":  filepath.Join(dir, "kept"),
		"state = \"/srv/b\"\nhostname = [[[\n":     "/srv/b",
		"hostname = \"a\"\n[smtp]\nlisten = [\"\n": "/var/lib/backstop",
		"# nothing\n":                            "/var/lib/backstop",
		"state = 5\n":                            "?",
		"hostname = = \"a\"\nstate = \"kept\"\n": "?",
		"[smtp]\nstate = \"elsewhere\"\nlisten = = 25\n": "/var/lib/backstop",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, ok := StateOf(path)
		if !ok {
			got = "?"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if _, ok := StateOf(filepath.Join(dir, "none")); ok {
		t.Error("a file that is not there names a folder")
	}
}
