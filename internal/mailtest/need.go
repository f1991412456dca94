package mailtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// systemFolders are where servers live that are not on everybody's PATH.
var systemFolders = []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/postfix/sbin", "/usr/libexec/postfix"}

// Find returns the path of the program, looked for on PATH and where servers
// are installed, or "".
func Find(program string) string {
	if p, err := exec.LookPath(program); err == nil {
		return p
	}
	for _, d := range systemFolders {
		p := filepath.Join(d, program)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p
		}
	}
	return ""
}

// Need returns the path of the program that the test cannot do without. If it is
// absent the test is skipped aloud, or fails where CI=true.
func Need(t testing.TB, program string) string {
	t.Helper()
	p := Find(program)
	if p == "" {
		Absent(t, program+" is not installed")
	}
	return p
}

// NeedRoot is Need for the superuser: the real servers change their identity.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Absent(t, "the superuser's rights are missing")
	}
}

// Absent says that something the test needs is not to be had here: a skip for
// the developer, a failure on the machine that must have everything (CI=true).
func Absent(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("needed and absent: %s (CI=true, so this is a failure; scripts/deps.sh installs what tests need)", what)
	}
	t.Skipf("SKIPPED, absent: %s (scripts/deps.sh installs what tests need)", what)
}

// Dir makes a folder for one test, removed at its end. Other than t.TempDir's it
// may be entered by everybody, as servers that drop their rights must, and its
// path is short enough for a Unix socket inside (104 octets on some systems).
func Dir(t testing.TB) string {
	t.Helper()
	d, err := os.MkdirTemp("", "mt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(d) })
	if err := os.Chmod(d, 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

// WriteFile writes a file below dir, with the folders on the way to it, and
// returns its path.
func WriteFile(t testing.TB, dir, name, content string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}
