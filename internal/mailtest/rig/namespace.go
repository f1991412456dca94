package rig

import (
	"os/exec"
	"strconv"
	"testing"

	"backstop/internal/mailtest"
)

// shown returns the words to put before a command so that it sees files and folders of ours in
// the place of others, in pairs: ours, the place. Nobody else sees them. Where a mount
// namespace is not allowed, the test is skipped or fails (mailtest.Need); what says whose it is.
func shown(t testing.TB, what string, pairs ...string) []string {
	t.Helper()
	if exec.Command(mailtest.Need(t, "unshare"), "-m", "-u", "true").Run() != nil {
		mailtest.Absent(t, "the right to make a mount namespace, for "+what)
	}
	const script = `hostname "$1"; shift
while [ "$1" != -- ]; do mount --rbind "$1" "$2" || exit; shift 2; done
shift; exec "$@"`
	words := append([]string{"unshare", "-m", "-u", "sh", "-c", script, "shown", what + ".test"}, pairs...)
	return append(words, "--")
}

// accounts writes a passwd and a group of this machine's and some more system users, and
// returns them as pairs for shown..
func accounts(t testing.TB, dir string, users ...string) []string {
	t.Helper()
	passwd, group := readFile("/etc/passwd"), readFile("/etc/group")
	for i, u := range users {
		id := strconv.Itoa(firstAccount + i)
		passwd += u + ":x:" + id + ":" + id + "::/nonexistent:/usr/sbin/nologin\n"
		group += u + ":x:" + id + ":\n"
	}
	return []string{mailtest.WriteFile(t, dir, "passwd", passwd), "/etc/passwd", mailtest.WriteFile(t, dir, "group", group), "/etc/group"}
}

// firstAccount is the number of the first user that only a server of ours sees.
const firstAccount = 3925
