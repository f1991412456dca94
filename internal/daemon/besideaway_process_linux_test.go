package daemon_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"backstop/internal/guide"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// awayWay is an MTA, and the section of Backstop's configuration into which it is plugged.
type awayWay struct {
	name, kind, plug string
	spoil            *strings.Replacer // what is done to the pasted lines; nil: nothing
}

var awayWays = []awayWay{
	{name: "Postfix, milter", kind: "postfix", plug: "milter"},
	{name: "Postfix, policy", kind: "postfix", plug: "policy"},
	{name: "Postfix, socketmap", kind: "postfix", plug: "socketmap"},
	{name: "Sendmail, milter", kind: "sendmail", plug: "milter"},
	{name: "Exim, HTTP", kind: "exim", plug: "panel"},
}

// awayBinary builds the program.
func awayBinary(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(mailtest.Dir(t), "backstop")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "backstop/cmd/backstop").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// awayScene is an MTA with a Backstop that is a process of its own and does not stay.
type awayScene struct {
	awayWay
	t                     *testing.T // for as long as the MTA is there
	binary, state, listen string
	mta                   *rig.Beside
	asked                 *mailtest.Mock // the server that is asked who exists
	hook                  *awayHook      // and the web server
	p                     *program
	load                  *awayLoad
	config                string
	let                   chan struct{} // closed: the server's late answers go out
}

// awayHook is a web server that is asked who exists, and that can hold its answers back.
type awayHook struct {
	url string
	mu  sync.Mutex
	let chan struct{} // closed: answers go out
}

func newAwayHook(t testing.TB) *awayHook {
	h := &awayHook{let: make(chan struct{})}
	close(h.let)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		let := h.let
		h.mu.Unlock()
		select {
		case <-let:
		case <-r.Context().Done():
			return
		}
		if !strings.HasPrefix(r.FormValue("address"), awayKnown) {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	h.url = server.URL
	t.Cleanup(func() { h.open(); server.Close() })
	return h
}

// hold keeps answers back until open is called.
func (h *awayHook) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.let = make(chan struct{})
}

func (h *awayHook) open() {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.let:
	default:
		close(h.let)
	}
}

// Sources for recipients, and how long one may take. So long that each MTA's line has a time that is
// longer than its own default, and can be made shorter here.
const (
	awayLong  = "95s"
	awayShort = "300ms"
	byServer  = "callahead"
	byHook    = "http"
)

var (
	awayServerKnows = regexp.MustCompile(`^RCPT TO:<` + awayKnown)
	awayStoreRefuse = regexp.MustCompile(`^RCPT TO:<` + awayUnknown)
)

// text is the configuration with one source.
func (s *awayScene) text(source, timeout string) string {
	url := s.hook.url
	more := ""
	if source == byServer {
		url, more = "smtp://"+s.asked.Addr()+"?tls=off", "rate = \"100000/s\"\n"
	}
	listen := s.listen
	if s.plug == "milter" && listen[0] != 'u' {
		listen = "inet:" + listen
	}
	door := fmt.Sprintf("[%s]\nlisten = %q\n", s.plug, listen)
	if s.plug == "milter" {
		door += "internal = [\"" + rig.Inside + "/32\"]\n"
	}
	return fmt.Sprintf(`hostname = "mx.gateway.example"
state = %q
drain = "15s"
[smtp]
listen = []
%s[dns]
resolvers = ["127.255.255.254"]
[source.users]
type = %q
url = %q
timeout = %q
connections = 60
%s[[domain]]
name = %q
recipients = ["users"]
`, s.state, door, source, url, timeout, more, rig.Domain)
}

// newAwayScene starts a Backstop, and an MTA with what `setup` prints for it.
func newAwayScene(t *testing.T, w awayWay, binary, listen string) *awayScene {
	s := &awayScene{awayWay: w, t: t, binary: binary, listen: listen, state: awayDisk(t), hook: newAwayHook(t)}
	s.asked = mailtest.NewMock(t, mailtest.Script{Rules: awayKnows})
	s.config = s.text(byServer, awayLong)
	s.start()
	s.mta = rig.OpenBeside(t, w.kind, s.pasted(t))
	s.mta.Store.Change(func(x *mailtest.Script) {
		x.Users = nil
		x.Rules = []mailtest.Rule{{On: "RCPT", Match: awayStoreRefuse, Reply: "550 5.1.1 nobody of this name"}}
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", w.name, awayTail(s.mta.Log()))
		}
	})
	s.load = newAwayLoad(t, s.mta.Addr, 6)
	s.recovers(t)
	return s
}

// awayKnows is how the server answers.
var awayKnows = []mailtest.Rule{{On: "RCPT", Match: awayServerKnows, Reply: "250 2.1.5 ok"}, {On: "RCPT", Reply: "550 5.1.1 nobody of this name"}}

// awayAnswersLate is how it answers when let is closed.
func awayAnswersLate(let <-chan struct{}) []mailtest.Rule {
	late := slices.Clone(awayKnows)
	for i := range late {
		late[i].Wait = let
	}
	return late
}

// awayTail is the end of a log.
func awayTail(text string) string { return text[max(0, len(text)-20_000):] }

// awayTimes are the times in the lines of `setup`. Each is made three seconds, so that nobody has to wait for minutes.
// E, which is Sendmail's for a whole message, stays.
var awayTimes = regexp.MustCompile(`(command_timeout=|timeout=|[CSR]:|\{)\d+s\b`)

// pasted are the lines that `setup` prints, with shorter times and nothing else changed.
func (s *awayScene) pasted(t *testing.T) rig.Pasted {
	t.Helper()
	g, err := guide.For(s.kind, guide.Place{Config: parse(t, s.config), Door: s.plug})
	if err != nil {
		t.Fatal(err)
	}
	var p rig.Pasted
	into := map[string]*string{"main.cf": &p.Main, "sendmail.mc": &p.MC, "exim: acl_check_rcpt": &p.EximRcpt}
	for _, step := range g.Steps {
		if place := into[step.File]; place != nil {
			*place += awayTimes.ReplaceAllString(strings.Join(step.Lines, "\n"), "${1}3s") + "\n"
		}
	}
	if s.spoil != nil {
		p.Main = s.spoil.Replace(p.Main)
	}
	t.Logf("pasted:\n%s", p.Main+p.MC+p.EximRcpt)
	return p
}

// start runs Backstop.
func (s *awayScene) start() {
	s.t.Helper()
	s.p = run(s.t, s.binary, s.config, s.state)
}

// signal sends one, and ends waits for the end.
func (s *awayScene) signal(sig syscall.Signal) { s.p.cmd.Process.Signal(sig) }

// freeze lets it stand still, and returns when all its threads do.
func (s *awayScene) freeze(t testing.TB) {
	t.Helper()
	s.signal(syscall.SIGSTOP)
	eventually(t, "it stands still", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.p.cmd.Process.Pid))
		for _, name := range threads {
			b, err := os.ReadFile(name)
			_, state, _ := strings.Cut(string(b), ") ")
			if err == nil && !strings.HasPrefix(state, "T") {
				return false
			}
		}
		return err == nil && len(threads) > 0
	})
}

func (s *awayScene) ends(t testing.TB) {
	t.Helper()
	err := <-s.p.gone
	s.p.gone <- err
	if err != nil {
		t.Errorf("Backstop ended with %v\n%s", err, awayTail(s.p.stderr.String()))
	}
}

// closed waits until nobody can connect to the door any more.
func (s *awayScene) closed(t testing.TB) {
	t.Helper()
	network, address := s.network()
	eventually(t, "the door is closed", func() bool {
		nc, err := net.Dial(network, address)
		if err == nil {
			nc.Close()
		}
		return err != nil
	})
}

func (s *awayScene) network() (network, address string) {
	if path, ok := strings.CutPrefix(s.listen, "unix:"); ok {
		path, _, _ = strings.Cut(path, "?")
		return "unix", path
	}
	return "tcp", s.listen
}

// reload gives it another configuration and waits until it is taken.
func (s *awayScene) reload(t testing.TB, config string) {
	t.Helper()
	const says = "the configuration was reloaded"
	before := bytes.Count([]byte(s.p.stderr.String()), []byte(says))
	file := s.p.cmd.Args[len(s.p.cmd.Args)-1]
	if err := os.WriteFile(filepath.Clean(file), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	s.config = config
	s.signal(syscall.SIGHUP)
	eventually(t, says, func() bool { return strings.Count(s.p.stderr.String(), says) > before })
}

// awayPort is an address for a door that is free, also while nobody listens there: no client has it as its own.
func awayPort(t testing.TB, number int) string {
	t.Helper()
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.7.%d:0", number+1))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
