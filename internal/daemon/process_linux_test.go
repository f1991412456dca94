package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"backstop/internal/daemon"
	"backstop/internal/mailtest"
)

// TestProcess runs the real program and does to it what the world does.
func TestProcess(t *testing.T) {
	program := filepath.Join(mailtest.Dir(t), "backstop")
	// A compiler takes what it takes: no event is waited for here.
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "backstop/cmd/backstop").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for name, test := range map[string]func(*testing.T, string){
		"kill": killedUnderLoad, "log full": fullLog, "disk full": fullDisk,
		"out of descriptors": outOfDescriptors, "signals": signals, "large": largeMessage,
	} {
		t.Run(name, func(t *testing.T) { test(t, program) })
	}
}

// program is one process of ours.
type program struct {
	cmd    *exec.Cmd
	state  string
	stderr *syncBuffer
	gone   chan error
}

// run starts `backstop serve` with this configuration, whose state is a folder of
// its own, and waits until it serves. before are words to put before the command.
func run(t testing.TB, binary, config, state string, before ...string) *program {
	t.Helper()
	if state == "" {
		state = mailtest.Dir(t)
	}
	file := mailtest.WriteFile(t, mailtest.Dir(t), "backstop.toml", config)
	words := append(before, binary, "serve", "--config", file)
	p := &program{cmd: exec.Command(words[0], words[1:]...), state: state, stderr: &syncBuffer{}, gone: make(chan error, 1)}
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives a test binary that is killed
	if strings.Contains(strings.Join(before, " "), "/dev/full") {
		p.cmd.Stderr = nil
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.gone <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.gone
		if t.Failed() {
			t.Logf("it said:\n%s", p.stderr)
		}
	})
	eventually(t, "the program serves", func() bool {
		select {
		case err := <-p.gone:
			p.gone <- err
			t.Fatalf("it ended: %v\n%s", err, p.stderr)
		default:
		}
		return len(p.status().Listeners) > 0
	})
	return p
}

// kill ends it as the kernel would.
func (p *program) kill() {
	p.cmd.Process.Kill()
	p.gone <- <-p.gone
}

// ask asks the control socket.
func (p *program) ask(path string, into any) error {
	c := http.Client{Timeout: mailtest.Patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(p.state, daemon.SocketName))
		},
	}}
	r, err := c.Get("http://backstop" + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	return json.NewDecoder(r.Body).Decode(into)
}

func (p *program) status() (s daemon.Status) {
	if p.ask("/status", &s) != nil {
		return daemon.Status{}
	}
	return s
}

func (p *program) addr(t testing.TB) string {
	t.Helper()
	for _, l := range p.status().Listeners {
		if l.Door == "smtp" {
			return l.Address
		}
	}
	t.Fatalf("it listens nowhere\n%s", p.stderr)
	return ""
}

// configured is a configuration with a state folder and a port of the system's choice.
func configured(state, relay, smtp string) string {
	return fmt.Sprintf("hostname = \"mx.gateway.example\"\nstate = %q\n", state) +
		relayTo("smtp://"+relay, "listen = [\"127.0.0.1:0\"]\nper_client = 0\n"+smtp, "")
}

// deliver sends one message and says how far it came, for goroutines.
func deliver(k *mailtest.Talk, from, to, body string) (mailtest.Sent, error) {
	s := mailtest.Sent{From: from, Body: []byte(body), Known: true}
	for _, line := range []string{"MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">", "DATA", body + "."} {
		s.Ended = strings.HasSuffix(line, "\r\n.")
		if line[0] == 'R' {
			s.Due = []string{to}
		}
		if err := k.Send(line + "\r\n"); err != nil {
			return s, err
		}
		r, err := k.Reply()
		if err != nil {
			return s, err
		}
		if s.Ended {
			s.Codes = []int{r.Code}
		}
		if r.Code/100 > 3 {
			return s, fmt.Errorf("%s: %q", line, r)
		}
		if line[0] == 'R' {
			s.To, s.Due = []string{to}, nil
		}
	}
	return s, nil
}

// ledger is what all senders saw.
type ledger struct {
	mu   sync.Mutex
	sent []mailtest.Sent
	ok   int
}

func (l *ledger) add(s mailtest.Sent) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, s)
	if len(s.Codes) > 0 && s.Codes[0] == 250 {
		l.ok++
	}
	return l.ok
}

func (l *ledger) taken() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ok
}

// pour lets so many senders bring mail until their connection breaks or over is closed.
func (l *ledger) pour(addr, tag string, senders int, over <-chan struct{}) *sync.WaitGroup {
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			nc, err := dialNet(addr)
			if err != nil {
				return
			}
			defer nc.Close()
			k := mailtest.NewTalk(nc)
			if _, err := k.Reply(); err != nil || k.Send("EHLO c.example\r\n") != nil {
				return
			}
			if _, err := k.Reply(); err != nil {
				return
			}
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				body := hello(fmt.Sprint(tag, "-", i, "-", n)) + strings.Repeat("more\r\n", n%700)
				s, err := deliver(k, "ann@sender.example", "alice@example.com", body)
				l.add(s)
				if err != nil {
					return
				}
			}
		})
	}
	return &wg
}

// killedUnderLoad: whenever the process is killed, every 2xx that a sender saw is at the
// downstream, and the next process with the same state folder goes on.
func killedUnderLoad(t *testing.T, binary string) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	state := mailtest.Dir(t)
	var all ledger
	for round := range 4 {
		p := run(t, binary, configured(state, m.Addr(), ""), state)
		rcpt(t, open(t, p.addr(t)), "nobody@example.com", missing)
		enough := all.taken() + 250
		senders := all.pour(p.addr(t), fmt.Sprint("round", round), 12, nil)
		eventually(t, "mail passes", func() bool { return all.taken() >= enough })
		p.kill()
		senders.Wait()
	}
	m.WaitIdle(t)
	mailtest.CheckOwned(t, all.sent, m.Messages())
	t.Logf("%d messages taken, %d begun", all.ok, len(all.sent))
}

// served: known mail passes and unknown is refused, whatever else is wrong.
func served(t testing.TB, addr string, times int) {
	t.Helper()
	var k *mailtest.Talk
	for i := range times {
		if i%20 == 0 { // max_commands bounds one session
			k = open(t, addr)
		}
		send(t, k, "ann@sender.example", "alice@example.com", hello(fmt.Sprint(i)), "250")
		rcpt(t, k, fmt.Sprintf("ghost%d@example.com", i), missing)
	}
}

// fullLog: nothing can be written down, and mail goes on.
func fullLog(t *testing.T, binary string) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	state := mailtest.Dir(t)
	p := run(t, binary, configured(state, m.Addr(), ""), state, "sh", "-c", `exec "$@" 2>/dev/full`, "sh")
	served(t, p.addr(t), 20)
	if n := len(m.Messages()); n != 20 {
		t.Errorf("%d messages at the downstream", n)
	}
	eventually(t, "status tells of lost lines", func() bool {
		return strings.Contains(strings.Join(p.status().Wrong, "\n"), "log lines were lost")
	})
}

// fullDisk: the state folder is full, and mail goes on; when there is room again,
// answers are kept again.
func fullDisk(t *testing.T, binary string) {
	mailtest.NeedRoot(t)
	state := mailtest.Dir(t)
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		mailtest.Absent(t, "the right to mount a small disk: "+err.Error())
	}
	t.Cleanup(func() { syscall.Unmount(state, 2 /* MNT_DETACH */) })
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	p := run(t, binary, configured(state, m.Addr(), ""), state)
	served(t, p.addr(t), 1)
	ballast := filepath.Join(state, "ballast")
	fill(t, ballast)
	served(t, p.addr(t), 300)
	eventually(t, "the operator is told", func() bool { return strings.Contains(p.stderr.String(), "full") })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	served(t, p.addr(t), 5)
	if n := len(m.Messages()); n != 306 {
		t.Errorf("%d messages at the downstream", n)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	err := <-p.gone
	p.gone <- err
	if err != nil {
		t.Errorf("it ended with %v", err)
	}
	served(t, run(t, binary, configured(state, m.Addr(), ""), state).addr(t), 1)
}

// fill writes a file until the disk is full.
func fill(t testing.TB, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 4096); err == nil; {
		_, err = f.Write(b)
	}
	if !strings.Contains(err.Error(), "no space") {
		t.Fatal(err)
	}
}

// outOfDescriptors: with no descriptor left those who are connected are told 4xx
// where one is needed, nobody 5xx; when there are some again, all is well.
func outOfDescriptors(t *testing.T, binary string) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	state := mailtest.Dir(t)
	const limit = 48
	p := run(t, binary, configured(state, m.Addr(), ""), state, "sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$@"`, limit), "sh")
	addr := p.addr(t)
	k := open(t, addr)
	var crowd []*mailtest.Talk
	for range 2 * limit {
		crowd = append(crowd, mailtest.Dial(t, addr))
	}
	eventually(t, "no descriptor is left", func() bool {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
		return err == nil && len(open) >= limit
	})
	rcpt(t, k, "alice@example.com", "451")
	for _, c := range crowd {
		c.Close()
	}
	eventually(t, "it is served again", func() bool {
		nc, err := dialNet(addr)
		if err != nil {
			return false
		}
		defer nc.Close()
		r, err := mailtest.NewTalk(nc).Reply()
		return err == nil && r.Code == 220
	})
	served(t, addr, 3)
}

// signals: SIGHUP reloads, a broken file changes nothing, SIGTERM drains and ends well.
func signals(t *testing.T, binary string) {
	m := mailtest.NewMock(t, mailtest.Script{})
	state := mailtest.Dir(t)
	p := run(t, binary, configured(state, m.Addr(), ""), state)
	file := p.cmd.Args[len(p.cmd.Args)-1]
	hup := func(text, says string) {
		t.Helper()
		mailtest.WriteFile(t, filepath.Dir(file), filepath.Base(file), text)
		p.cmd.Process.Signal(syscall.SIGHUP)
		eventually(t, says, func() bool { return strings.Contains(p.stderr.String(), says) })
	}
	addr := p.addr(t)
	hup("hostname = \"mx.gateway.example\"\n[smtp]\nlistne = []\n", file+":3:1")
	send(t, open(t, addr), "ann@sender.example", "alice@example.com", hello("still there"), "250")
	hup(configured(state, m.Addr(), "max_message_size = \"1MB\""), "the configuration was reloaded")
	k := open(t, addr)
	say(t, k, "EHLO client.example", "/SIZE 1048576/", "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@example.com>", "250", "DATA", "354")
	idle := open(t, addr)
	p.cmd.Process.Signal(syscall.SIGTERM)
	idle.Expect(t, "421", "at SIGTERM")
	say(t, k, hello("the last one")+".", "250")
	err := <-p.gone
	p.gone <- err
	if err != nil {
		t.Errorf("it ended with %v", err)
	}
	if n := len(m.Messages()); n != 2 {
		t.Errorf("%d messages at the downstream", n)
	}
}

// largeMessage: 50 MB go through octet for octet, and the process does not grow by them.
func largeMessage(t *testing.T, binary string) {
	const most = 16 << 20
	m := mailtest.NewMock(t, mailtest.Script{})
	state := mailtest.Dir(t)
	p := run(t, binary, configured(state, m.Addr(), ""), state)
	addr := p.addr(t)
	for _, how := range []string{"", "BDAT"} {
		body := string(mailtest.Generate(7, 50<<20, mailtest.EightBit))
		k := open(t, addr)
		send(t, k, "ann@sender.example", "alice@example.com", hello("warm"), "250")
		before := p.peak(t)
		m.Forget()
		say(t, k, fmt.Sprintf("MAIL FROM:<ann@sender.example> BODY=8BITMIME SIZE=%d", len(body)), "250", "RCPT TO:<alice@example.com>", "250")
		if how == "" {
			say(t, k, "DATA", "354", strings.ReplaceAll(body, "\r\n.", "\r\n..")+".", "250")
		} else {
			say(t, k, fmt.Sprintf("BDAT %d LAST\r\n%s", len(body), strings.TrimSuffix(body, "\r\n")), "250")
		}
		if _, ok := mailtest.Carries(one(t, m).Body, []byte(body)); !ok {
			t.Errorf("%s: the message changed on its way", how)
		}
		if grown := p.peak(t) - before; grown > most {
			t.Errorf("%s: the process grew by %d MB", how, grown>>20)
		} else {
			t.Logf("%s: the process grew by %d KB", how, grown>>10)
		}
	}
}

// peak is the most memory the process ever had, in octets.
func (p *program) peak(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
