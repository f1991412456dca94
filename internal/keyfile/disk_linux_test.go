package keyfile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// TestFullDisk makes keys on a file system of its own until that is full: what was made stays.
func TestFullDisk(t *testing.T) {
	if folder := os.Getenv("KEYFILE_FULL_DISK"); folder != "" {
		fillDisk(t, folder)
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unshare := mailtest.Need(t, "unshare")
	if exec.Command(unshare, "-m", "true").Run() != nil {
		mailtest.Absent(t, "the right to make a mount namespace")
	}
	folder := t.TempDir()
	c := exec.Command(unshare, "-m", "sh", "-c", `mount -t tmpfs -o size=12k none "$1" && exec "$2" -test.run '^TestFullDisk$' -test.v`, "sh", folder, program)
	c.Env = append(os.Environ(), "KEYFILE_FULL_DISK="+folder)
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: TestFullDisk") {
		t.Errorf("%v\n%s", err, out)
	}
}

func fillDisk(t *testing.T, folder string) {
	f := open(t, folder, Options{NoEvents: true})
	if _, err := f.Ensure(noon(22)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "log"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "more"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.New(noon(22)); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("%v", err)
	}
	if again := open(t, folder, Options{NoEvents: true}); again.Ring().Len() != 1 || f.Ring().Len() != 1 {
		t.Errorf("%d keys", again.Ring().Len())
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := os.Remove(filepath.Join(folder, "more")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.New(noon(22)); err != nil || f.Ring().Len() != 2 {
		t.Errorf("%v", err)
	}
}
