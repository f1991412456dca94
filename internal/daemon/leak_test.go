package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"backstop/internal/mailtest"
)

// descriptors counts what this process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		mailtest.Absent(t, "/proc/self/fd")
	}
	return len(e)
}

// TestReloadLeavesNothing changes everything that a reload can change, again and
// again, with a connection open through it: what the old configuration used is closed.
func TestReloadLeavesNothing(t *testing.T) {
	a, b := mailtest.NewMock(t, mailtest.Script{}), mailtest.NewMock(t, mailtest.Script{})
	dir := mailtest.Dir(t)
	config := func(i int) string {
		m := []*mailtest.Mock{a, b}[i%2]
		file := filepath.Join(dir, fmt.Sprintf("users%d", i%3))
		if err := os.WriteFile(file, []byte("alice@example.com\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return relayTo("smtp://"+m.Addr(), "listen = [\"127.0.0.1:0\"]",
			fmt.Sprintf("recipients = [\"list:%s\", \"callahead:smtp://%s\"]", file, m.Addr()))
	}
	g := start(t, config(0))
	turn := func(i int) {
		if err := g.Reload(parse(t, config(i))); err != nil {
			t.Fatal(err)
		}
		k := open(t, g.addr)
		defer k.Close()
		send(t, k, "ann@sender.example", "alice@example.com", hello("turn"), "250")
		rcpt(t, k, fmt.Sprintf("other%d@example.com", i), "250")
	}
	for i := range 6 {
		turn(i)
	}
	fd, gr := descriptors(t), runtime.NumGoroutine()
	for i := range 60 {
		turn(i)
	}
	// A few stand for what happens to be idle just now; a leak would be sixty.
	eventually(t, "what the old configurations used is closed", func() bool {
		return descriptors(t) <= fd+10 && runtime.NumGoroutine() <= gr+20
	})
}
