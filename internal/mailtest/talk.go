package mailtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Reply is one reply of a server, all its lines.
type Reply struct {
	Code  int
	Lines []string // without code and separator
}

// String is the whole reply as it came, lines joined by \n.
func (r Reply) String() string {
	var b strings.Builder
	for i, l := range r.Lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		sep := '-'
		if i == len(r.Lines)-1 {
			sep = ' '
		}
		fmt.Fprintf(&b, "%03d%c%s", r.Code, sep, l)
	}
	return b.String()
}

// Text is what the last line says behind the code.
func (r Reply) Text() string {
	if len(r.Lines) == 0 {
		return ""
	}
	return r.Lines[len(r.Lines)-1]
}

// Talk is one connection to a server, for tests that speak SMTP by hand. Every
// read and write is bounded by Patience.
type Talk struct {
	Conn net.Conn
	r    *bufio.Reader
}

// Dial connects to host:port, or to a Unix socket when the address begins with "/".
func Dial(t testing.TB, addr string) *Talk {
	t.Helper()
	return DialFrom(t, addr, "")
}

// DialFrom is Dial from an address of this machine, by which the server may tell its clients apart: on Linux any
// in 127.0.0.0/8.
func DialFrom(t testing.TB, addr, source string) *Talk {
	t.Helper()
	k, err := dialFrom(addr, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// dialFrom connects from a source address; "" leaves the choice to the system.
func dialFrom(addr, source string) (*Talk, error) {
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	d := net.Dialer{Timeout: Patience}
	if source != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	nc, err := d.Dial(network, addr)
	if err != nil {
		return nil, err
	}
	return NewTalk(nc), nil
}

// NewTalk speaks over a connection that is there already.
func NewTalk(nc net.Conn) *Talk { return &Talk{Conn: nc, r: bufio.NewReader(nc)} }

// Send writes these octets.
func (k *Talk) Send(octets string) error {
	k.Conn.SetWriteDeadline(time.Now().Add(Patience))
	_, err := io.WriteString(k.Conn, octets)
	return err
}

// Reply reads one reply (RFC 5321, 4.2). io.EOF means that the server has hung up.
func (k *Talk) Reply() (Reply, error) {
	k.Conn.SetReadDeadline(time.Now().Add(Patience))
	var r Reply
	for {
		line, err := k.r.ReadString('\n')
		if err != nil {
			if line != "" && errors.Is(err, io.EOF) {
				err = fmt.Errorf("the server hung up in the middle of a reply: %q", line)
			}
			return r, err
		}
		l, ok := strings.CutSuffix(line, "\r\n")
		if !ok || len(l) < 3 || strings.ContainsAny(l, "\r\x00") {
			return r, fmt.Errorf("not a reply line: %q", line)
		}
		code, err := strconv.Atoi(l[:3])
		if err != nil || code < 200 || code > 599 || r.Code != 0 && r.Code != code || len(l) > 3 && l[3] != ' ' && l[3] != '-' {
			return r, fmt.Errorf("not a reply line: %q", line)
		}
		r.Code = code
		r.Lines = append(r.Lines, l[min(4, len(l)):])
		if len(l) == 3 || l[3] == ' ' {
			return r, nil
		}
	}
}

// Ask sends one command and returns its reply; the test fails when there is none.
func (k *Talk) Ask(t testing.TB, line string) Reply {
	t.Helper()
	if err := k.Send(line + "\r\n"); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return k.Expect(t, "", "reply to "+line)
}

// Expect reads one reply that must fit the pattern (as after S: in a dialogue; "" is any).
func (k *Talk) Expect(t testing.TB, pattern, what string) Reply {
	t.Helper()
	r, err := k.Reply()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	w, err := parseWant(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if !w.fits(r) {
		t.Fatalf("%s: %q, wanted %s", what, r, pattern)
	}
	return r
}

// Close hangs up.
func (k *Talk) Close() error { return k.Conn.Close() }

// Reset hangs up by RST.
func (k *Talk) Reset() error {
	if tc, ok := k.Conn.(*net.TCPConn); ok {
		tc.SetLinger(0)
	}
	return k.Conn.Close()
}

// want is an expectation of a reply.
type want struct {
	codes []string // "250", "5xx"; none: any
	text  string   // what the last line must begin with
	re    *regexp.Regexp
}

var codePattern = regexp.MustCompile(`^[2-5][0-9x]{2}(\|[2-5][0-9x]{2})*$`)

func parseWant(s string) (want, error) {
	s = strings.TrimSpace(s)
	if s == "" || s == "*" {
		return want{}, nil
	}
	if len(s) > 1 && s[0] == '/' && s[len(s)-1] == '/' {
		re, err := regexp.Compile(s[1 : len(s)-1])
		return want{re: re}, err
	}
	codes, text, _ := strings.Cut(s, " ")
	if !codePattern.MatchString(codes) {
		return want{}, fmt.Errorf("%q is no code: 250, 5xx or 450|451 is wanted", codes)
	}
	return want{codes: strings.Split(codes, "|"), text: text}, nil
}

func (w want) fits(r Reply) bool {
	if w.re != nil {
		return w.re.MatchString(r.String())
	}
	if w.codes == nil {
		return true
	}
	for _, c := range w.codes {
		if codeFits(c, r.Code) {
			return strings.HasPrefix(r.Text(), w.text)
		}
	}
	return false
}

// class is the highest class of reply that was reckoned with, '2' to '5'; 0: any.
func (w want) class() byte {
	var c byte
	for _, x := range w.codes {
		c = max(c, x[0])
	}
	return c
}

func codeFits(pattern string, code int) bool {
	s := strconv.Itoa(code)
	for i := range 3 {
		if pattern[i] != 'x' && pattern[i] != s[i] {
			return false
		}
	}
	return true
}
