package rig

import (
	"bufio"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backstop/internal/mailtest"
)

// clock returns the environment in which a program sees another time than it is. The zero
// time is now.
func clock(t testing.TB, at time.Time) []string {
	t.Helper()
	if at.IsZero() {
		return nil
	}
	root := unpacked("faketime")
	libs, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu/faketime/libfaketime.so.1"))
	if root == "" || len(libs) == 0 {
		mailtest.Absent(t, "libfaketime")
	}
	return []string{"LD_PRELOAD=" + libs[0], "TZ=UTC", "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME=@" + at.UTC().Format(time.DateTime)}
}

// unpacked returns where the packages of that name are unpacked in this checkout, or "".
func unpacked(name string) string {
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		root := filepath.Join(dir, ".deps", name)
		if _, err := os.Stat(filepath.Join(root, "complete")); err == nil {
			return root
		}
	}
	return ""
}

// EximExpand lets Exim expand strings, a line each, and returns what it made of each of them. At
// the zero time the clock of the machine counts. Nothing is sent and nothing listens.
func EximExpand(t testing.TB, at time.Time, lines ...string) []string {
	t.Helper()
	mailtest.NeedRoot(t)
	env := clock(t, at)
	x := &Exim{t: t, Dir: mailtest.Dir(t)}
	binary, libs := findExim(t)
	conf := mailtest.WriteFile(t, x.Dir, "exim.conf", "exim_user = root\nexim_group = root\nspool_directory = "+x.Dir+
		"\nlog_file_path = "+x.Dir+"/%slog\nkeep_environment = LD_LIBRARY_PATH\n")
	command := append(x.identity(), binary, "-C", conf, "-be")
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir, cmd.Env = x.Dir, append(append(os.Environ(), env...), "LD_LIBRARY_PATH="+libs)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("exim -be: %v\n%.2000s", err, out)
	}
	answers := strings.Split(string(out), "\n")
	if len(answers) < len(lines) {
		t.Fatalf("%d answers of exim to %d strings:\n%.2000s", len(answers), len(lines), out)
	}
	answers = answers[:len(lines)]
	for i := range answers {
		answers[i] = strings.TrimPrefix(answers[i], "> ")
	}
	return answers
}

// EximQuote writes a text so that Exim's expansion leaves it as it is.
func EximQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `$`, `\$`, `{`, `\{`, `}`, `\}`).Replace(s)
}

// PostsrsdOptions is how a postsrsd is set up.
type PostsrsdOptions struct {
	Domain    string
	Secrets   []string  // the first makes addresses
	Separator byte      // 0: postsrsd's own, "="
	Digits    int       // of the hash; 0: postsrsd's own, 4
	At        time.Time // the time that it sees; zero: now
}

// Postsrsd is Debian's postsrsd, asked as Postfix asks it (tcp_table(5)).
type Postsrsd struct {
	t                testing.TB
	forward, reverse *table
}

// StartPostsrsd starts a postsrsd on two free ports, gone when the test ends. Where there is none,
// the test is skipped or fails (mailtest.Need).
func StartPostsrsd(t testing.TB, o PostsrsdOptions) *Postsrsd {
	t.Helper()
	binary := mailtest.Find("postsrsd")
	if root := unpacked("postsrsd"); root != "" {
		binary = filepath.Join(root, "usr/sbin/postsrsd")
	}
	if binary == "" {
		mailtest.Absent(t, "postsrsd")
	}
	dir := mailtest.Dir(t)
	args := []string{binary, "-4", "-l", "127.0.0.1", "-d", o.Domain,
		"-s", mailtest.WriteFile(t, dir, "secrets", strings.Join(o.Secrets, "\n")+"\n")}
	if o.Separator != 0 {
		args = append(args, "-a", string(o.Separator))
	}
	if o.Digits != 0 {
		args = append(args, "-n", fmt.Sprint(o.Digits), "-N", fmt.Sprint(o.Digits))
	}
	env := clock(t, o.At)
	for try := 0; ; try++ {
		forward, reverse := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
		proc := start(t, dir, env, append(args, "-f", forward[len("127.0.0.1:"):], "-r", reverse[len("127.0.0.1:"):])...)
		err := proc.listening(forward)
		if err == nil {
			err = proc.listening(reverse)
		}
		if err == nil {
			t.Cleanup(proc.stop)
			return &Postsrsd{t: t, forward: dialTable(t, forward), reverse: dialTable(t, reverse)}
		}
		proc.stop()
		if try == 2 {
			t.Fatalf("postsrsd does not start: %v\n%s", err, readFile(proc.output))
		}
	}
}

// table is a connection to a tcp_table.
type table struct {
	net.Conn
	in *bufio.Reader
}

func dialTable(t testing.TB, addr string) *table {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, mailtest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &table{nc, bufio.NewReader(nc)}
}

// Forward asks for the address under which mail of sender is sent on. Where there is none,
// text is postsrsd's reason.
func (p *Postsrsd) Forward(sender string) (text string, ok bool) {
	p.t.Helper()
	return p.ask(p.forward, sender)
}

// Reverse asks who an address means.
func (p *Postsrsd) Reverse(address string) (text string, ok bool) {
	p.t.Helper()
	return p.ask(p.reverse, address)
}

func (p *Postsrsd) ask(to *table, key string) (string, bool) {
	p.t.Helper()
	to.SetDeadline(time.Now().Add(mailtest.Patience))
	if _, err := fmt.Fprintf(to, "get %s\n", strings.ReplaceAll(url.QueryEscape(key), "+", "%20")); err != nil {
		p.t.Fatal(err)
	}
	line, err := to.in.ReadString('\n')
	if err != nil {
		p.t.Fatalf("postsrsd, asked for %q: %v", key, err)
	}
	code, text, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
	if code != "200" {
		return text, false
	}
	plain, err := url.PathUnescape(text)
	if err != nil {
		p.t.Fatalf("postsrsd, asked for %q, answers %q: %v", key, line, err)
	}
	return plain, true
}
