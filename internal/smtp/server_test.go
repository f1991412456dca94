package smtp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taker is a Handler that takes everything and remembers it.
type taker struct {
	mu       sync.Mutex
	messages []string
	voids    []error // messages that ended in an error
	from     []mail.ReversePath
	to       []string
	params   smtp.MailParams
	rparams  []smtp.RcptParams
	resets   int
	helo     string
	early    bool
	refuse   map[string]mail.Reply // by recipient
	stop     int                   // leave a message after so many octets, when > 0
	stopWith mail.Reply
	closed   chan struct{}
}

func newTaker() *taker { return &taker{closed: make(chan struct{}, 100)} }

func (k *taker) Connect() mail.Reply { return mail.Reply{} }
func (k *taker) Helo(name string, _ bool) mail.Reply {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.helo = name
	return mail.Reply{}
}
func (k *taker) Mail(from mail.ReversePath, p smtp.MailParams) mail.Reply {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.from, k.params, k.to, k.rparams = append(k.from, from), p, nil, nil
	return mail.Reply{}
}
func (k *taker) Rcpt(to mail.Address, p smtp.RcptParams) mail.Reply {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r, ok := k.refuse[to.Key()]; ok {
		return r
	}
	k.to, k.rparams = append(k.to, to.String()), append(k.rparams, p)
	return mail.Reply{}
}
func (k *taker) Data() mail.Reply { return mail.Reply{} }
func (k *taker) Message(body *smtp.BodyReader) mail.Reply {
	var b bytes.Buffer
	var err error
	if k.stop > 0 {
		_, err = io.CopyN(&b, body, int64(k.stop))
		if err == nil {
			return k.stopWith
		}
	} else {
		_, err = b.ReadFrom(body)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.voids = append(k.voids, err)
		return mail.Reply{}
	}
	k.messages = append(k.messages, b.String())
	return mail.MustReply(250, "2.0.0", "taken")
}
func (k *taker) Reset()                              { k.mu.Lock(); k.resets++; k.mu.Unlock() }
func (k *taker) Violation(smtp.Violation) mail.Reply { return mail.Reply{} }
func (k *taker) Close()                              { k.closed <- struct{}{} }
func (k *taker) taken() []string                     { k.mu.Lock(); defer k.mu.Unlock(); return k.messages }
func (k *taker) void() []error                       { k.mu.Lock(); defer k.mu.Unlock(); return k.voids }

// serve starts a server in front of k and returns its address.
func serve(t testing.TB, k *taker, change func(*smtp.ServerConfig)) string {
	t.Helper()
	cfg := smtp.ServerConfig{Hostname: "mx.test", MaxMessageSize: 1 << 20}
	cfg.NewHandler = func(c *smtp.Conn) smtp.Handler {
		k.mu.Lock()
		k.early = c.Early()
		k.mu.Unlock()
		return k
	}
	if change != nil {
		change(&cfg)
	}
	s := smtp.NewServer(cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; !errors.Is(err, smtp.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return l.Addr().String()
}

// dialogue is one connection, played line by line.
type dialogue struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

func dial(t testing.TB, addr string) *dialogue {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return &dialogue{t, nc, bufio.NewReader(nc)}
}

// reply reads one reply, all its lines.
func (d *dialogue) reply() string {
	d.t.Helper()
	var all []string
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			return strings.Join(append(all, "("+errName(err)+")"), "|")
		}
		line = strings.TrimSuffix(line, "\r\n")
		all = append(all, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(all, "|")
		}
	}
}

func errName(err error) string {
	if errors.Is(err, io.EOF) {
		return "closed"
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "nothing"
	}
	return "reset"
}

func (d *dialogue) send(s string) {
	d.t.Helper()
	if _, err := io.WriteString(d.nc, s); err != nil {
		d.t.Logf("write: %v", err)
	}
}

// want sends s and expects a reply that begins with each of replies, in turn.
func (d *dialogue) want(s string, replies ...string) {
	d.t.Helper()
	d.send(s)
	for i, w := range replies {
		if got := d.reply(); !strings.HasPrefix(got, w) {
			d.t.Fatalf("after %q: reply %d is %q, want %q", short(s), i+1, got, w)
		}
	}
}

func short(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

const intro = "EHLO client.test\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\n"

func (d *dialogue) hello() {
	d.t.Helper()
	d.want("", "220 mx.test ESMTP")
	d.want(intro, "250-mx.test", "250 2.1.0", "250 2.1.5")
}

func TestConversation(t *testing.T) {
	for _, tc := range []struct{ name, in, out string }{
		{"helo", "HELO x\r\n", "250 mx.test"},
		{"ehlo", "EHLO x\r\n", "250-mx.test|250-PIPELINING|250-SIZE 1048576|250-8BITMIME|250-SMTPUTF8|250-DSN|250-CHUNKING|250 ENHANCEDSTATUSCODES"},
		{"lower case", "ehlo x\r\nmail from:<a@b>\r\n", "250-;250 2.1.0"},
		{"no name", "EHLO\r\n", "501 5.5.4"},
		{"mail first", "MAIL FROM:<a@b>\r\n", "503 5.5.1 Say EHLO"},
		{"rcpt first", "EHLO x\r\nRCPT TO:<a@b>\r\n", "250-;503 5.5.1 MAIL"},
		{"data first", "EHLO x\r\nDATA\r\n", "250-;503 5.5.1"},
		{"nested", "EHLO x\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n", "250-;250;503 5.5.1"},
		{"data without recipients", "EHLO x\r\nMAIL FROM:<a@b>\r\nDATA\r\n", "250-;250;554 5.5.1"},
		{"null sender", "EHLO x\r\nMAIL FROM:<>\r\n", "250-;250"},
		{"space after colon", "EHLO x\r\nMAIL FROM: <a@b>\r\n", "250-;250"},
		{"no brackets", "EHLO x\r\nMAIL FROM:a@b\r\n", "250-;501 5.1.7"},
		{"postmaster", "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\n", "250-;250;250"},
		{"null recipient", "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<>\r\n", "250-;250;501 5.1.3"},
		{"source route", "EHLO x\r\nMAIL FROM:<@one.test,@two.test:a@b>\r\n", "250-;250"},
		{"quoted", "EHLO x\r\nMAIL FROM:<\"a b\\\"c\"@b>\r\n", "250-;250"},
		{"size", "EHLO x\r\nMAIL FROM:<a@b> SIZE=1048576\r\n", "250-;250"},
		{"size over", "EHLO x\r\nMAIL FROM:<a@b> SIZE=1048577\r\n", "250-;552 5.3.4"},
		{"size absurd", "EHLO x\r\nMAIL FROM:<a@b> SIZE=99999999999999999999\r\n", "250-;552 5.3.4"},
		{"size negative", "EHLO x\r\nMAIL FROM:<a@b> SIZE=-1\r\n", "250-;501 5.5.4"},
		{"body", "EHLO x\r\nMAIL FROM:<a@b> BODY=8bitmime\r\n", "250-;250"},
		{"body unknown", "EHLO x\r\nMAIL FROM:<a@b> BODY=9BIT\r\n", "250-;501 5.5.4"},
		{"binary not offered", "EHLO x\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\n", "250-;555 5.6.1"},
		{"unknown parameter", "EHLO x\r\nMAIL FROM:<a@b> FOO=BAR\r\n", "250-;555 5.5.4"},
		{"requiretls", "EHLO x\r\nMAIL FROM:<a@b> REQUIRETLS\r\n", "250-;555 5.7.30 REQUIRETLS"},
		{"dsn", "EHLO x\r\nMAIL FROM:<a@b> RET=HDRS ENVID=QQ314159\r\nRCPT TO:<b@c> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@c\r\n", "250-;250;250"},
		{"dsn wrong", "EHLO x\r\nMAIL FROM:<a@b> RET=SOME\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@c> NOTIFY=NEVER,DELAY\r\n", "250-;501;250;501"},
		{"dsn odd", "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@c> ORCPT=rfc822;b\x1b[2J@c\r\nRCPT TO:<b@c> ORCPT=utf-8;ö@c\r\n", "250-;250;501;501"},
		{"dsn utf8", "EHLO x\r\nMAIL FROM:<a@b> SMTPUTF8\r\nRCPT TO:<b@c> ORCPT=utf-8;ö@c\r\nRCPT TO:<b@c> ORCPT=utf-8;\xff@c\r\n", "250-;250;250;501"},
		{"utf8 not asked", "EHLO x\r\nMAIL FROM:<ä@b>\r\n", "250-;553 5.6.7"},
		{"utf8", "EHLO x\r\nMAIL FROM:<ä@b> SMTPUTF8\r\nRCPT TO:<ö@bücher.example>\r\n", "250-;250;250"},
		{"vrfy", "VRFY a\r\n", "252"},
		{"expn", "EXPN a\r\n", "502"},
		{"help", "HELP\r\n", "214"},
		{"noop", "NOOP anything\r\n", "250"},
		{"rset", "RSET\r\n", "250"},
		{"rset with argument", "RSET now\r\n", "501"},
		{"auth", "AUTH PLAIN\r\n", "502"},
		{"starttls not offered", "EHLO x\r\nSTARTTLS\r\n", "250-;502"},
		{"xclient not trusted", "XCLIENT ADDR=1.2.3.4\r\n", "550 5.7.0"},
		{"unknown", "WIZ\r\n", "500 5.5.2"},
		{"quit", "QUIT\r\n", "221;(closed)"},
		{"quit pipelined", "EHLO x\r\nMAIL FROM:<>\r\nQUIT\r\n", "250-;250;221;(closed)"},
		{"bare LF", "EHLO x\nMAIL FROM:<>\r\n", "550 5.6.0;(closed)"},
		{"bare CR", "EHLO x\rMAIL FROM:<>\r\n", "550 5.6.0;(closed)"},
		{"NUL", "EHLO x\x00y\r\nNOOP\r\n", "550 5.6.0;(closed)"},
		{"web browser", "POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\n", "421;(closed)"},
		{"long line", "NOOP " + strings.Repeat("x", 3000) + "\r\nNOOP\r\n", "500 5.5.6;250"},
		{"endless line", "NOOP " + strings.Repeat("x", 200000), "421;(closed)"},
		{"ten errors and one", strings.Repeat("X\r\n", 11) + "NOOP\r\n", strings.Repeat("500;", 10) + "421;(closed)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := dial(t, serve(t, newTaker(), nil))
			d.want("", "220")
			d.want(tc.in, strings.Split(tc.out, ";")...)
		})
	}
}

func TestOneWriteForAGroup(t *testing.T) {
	k := newTaker()
	k.refuse = map[string]mail.Reply{"no@mx.test": mail.MustReply(550, "5.1.1", "no")}
	d := dial(t, serve(t, k, nil))
	d.want("", "220")
	d.send("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@mx.test>\r\nRCPT TO:<no@mx.test>\r\nDATA\r\n")
	buf := make([]byte, 4096)
	n, err := d.nc.Read(buf)
	if err != nil || !bytes.HasSuffix(buf[:n], []byte("<CR><LF>.<CR><LF>\r\n")) {
		t.Fatalf("the first read got %q, %v: want all five replies", buf[:n], err)
	}
	d.want("Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n", "250 2.0.0 taken", "221")
	if got := k.taken(); len(got) != 1 || got[0] != "Subject: x\r\n\r\n.dot\r\n" {
		t.Fatalf("taken: %q", got)
	}
}

func TestSizeExactly(t *testing.T) {
	for _, tc := range []struct {
		over int
		want string
	}{{0, "250"}, {1, "552 5.3.4"}} {
		k := newTaker()
		d := dial(t, serve(t, k, func(c *smtp.ServerConfig) { c.MaxMessageSize = 1000 }))
		d.hello()
		body := strings.Repeat("x", 998+tc.over) + "\r\n"
		d.want("DATA\r\n", "354")
		d.want(body+".\r\n", tc.want)
		if tc.over > 0 {
			d.want("", "(closed)")
		}
	}
}

// TestEndOfData plays every published way to end the data early: each must
// either end the connection or be text, and nothing behind it may be run.
func TestEndOfData(t *testing.T) {
	second := "MAIL FROM:<evil@client.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\nsmuggled\r\n.\r\n"
	ends := []string{
		"\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r\n.\n", "\r\r\n.\r\r\n", "\r.\r\n", "\n.\r", "\r.\n",
		"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n.\r\x00\n", "\x00\r\n.\r\n"[:1] + "\n.\n", "\r\n.\r\r\n", "\r\n\r.\r\n", "\r\n.\n\r\n",
	}
	for _, end := range ends {
		for split := 0; split <= len(end); split++ {
			t.Run(fmt.Sprintf("%q at %d", end, split), func(t *testing.T) {
				k := newTaker()
				d := dial(t, serve(t, k, nil))
				d.hello()
				d.want("DATA\r\n", "354")
				d.send("Subject: x\r\n\r\ntext" + end[:split])
				d.send(end[split:] + second + "\r\n.\r\n")
				d.want("", "550 5.6.0", "(closed)")
				<-k.closed
				if got := k.taken(); len(got) != 0 {
					t.Fatalf("taken: %q", got)
				}
				if k.from[len(k.from)-1].String() != "a@client.test" {
					t.Fatal("a command was run out of the data")
				}
			})
		}
	}
}

func TestBareNewlineAllowed(t *testing.T) {
	all := func(netip.Addr) bool { return true }
	for _, tc := range []struct{ in, want string }{
		{"a\nb\r\n.\r\n", "a\r\nb\r\n"},
		{"a\rb\r\n.\r\n", "a\r\nb\r\n"},
		{"a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"},
		{"a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"},
		{"a\r.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"},
		{"a\r\n.\rb\r\n.\r\n", "a\r\n.\r\nb\r\n"},
		{"a\r\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"},
		{"a\n..b\r\n.\r\n", "a\r\n.b\r\n"},
	} {
		k := newTaker()
		d := dial(t, serve(t, k, func(c *smtp.ServerConfig) { c.AllowBareNewline = all }))
		d.hello()
		d.want("DATA\r\n", "354")
		d.want(tc.in, "250")
		d.want("QUIT\r\n", "221")
		if got := k.taken(); len(got) != 1 || got[0] != tc.want {
			t.Errorf("%q: taken %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestChunks(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		replies  string
		taken    string
	}{
		{"one", "BDAT 6 LAST\r\nabcd\r\n", "250 2.0.0 taken", "abcd\r\n"},
		{"two", "BDAT 3\r\nabcBDAT 3 LAST\r\nd\r\n", "250;250 2.0.0 taken", "abcd\r\n"},
		{"empty last", "BDAT 6\r\nabcd\r\nBDAT 0 LAST\r\n", "250;250 2.0.0 taken", "abcd\r\n"},
		{"dots are text", "BDAT 14 LAST\r\na\r\n.\r\n..b\r\n.\r\n", "250 2.0.0 taken", "a\r\n.\r\n..b\r\n.\r\n"},
		{"no end of line", "BDAT 4 LAST\r\nabcd", "250 2.0.0 taken", "abcd"},
		{"noop between", "BDAT 3\r\nabcNOOP\r\nBDAT 3 LAST\r\nd\r\n", "250;250;250 2.0.0 taken", "abcd\r\n"},
		{"reset", "BDAT 3\r\nabcRSET\r\nMAIL FROM:<>\r\n", "250;250 2.0.0 Ok;250 2.1.0", ""},
		{"data after", "BDAT 3\r\nabcDATA\r\nBDAT 3 LAST\r\nd\r\n", "250;503;250 2.0.0 taken", "abcd\r\n"},
		{"bare LF", "BDAT 4 LAST\r\na\n.\n", "550 5.6.0;(closed)", ""},
		{"CR at the end", "BDAT 4 LAST\r\nabc\rNOOP\r\n", "550 5.6.0;(closed)", ""},
		{"CR LF parted", "BDAT 4\r\nabc\rBDAT 1 LAST\r\n\n", "250;250 2.0.0 taken", "abc\r\n"},
		{"CR at the end, empty last", "BDAT 4\r\nabc\rBDAT 0 LAST\r\n", "250;550 5.6.0;(closed)", ""},
		{"bad size", "BDAT x\r\nNOOP\r\n", "501;(closed)", ""},
		{"negative", "BDAT -1 LAST\r\nNOOP\r\n", "501;(closed)", ""},
		{"absurd", "BDAT 99999999999999999999\r\n", "501;(closed)", ""},
		{"bad word", "BDAT 3 FIRST\r\nabc", "501;(closed)", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := newTaker()
			d := dial(t, serve(t, k, nil))
			d.hello()
			d.want(tc.in, strings.Split(tc.replies, ";")...)
			d.nc.Close()
			<-k.closed
			got := k.taken()
			if tc.taken == "" && len(got) != 0 || tc.taken != "" && (len(got) != 1 || got[0] != tc.taken) {
				t.Fatalf("taken %q, want %q", got, tc.taken)
			}
		})
	}
}

func TestChunkWithoutRecipients(t *testing.T) {
	k := newTaker()
	d := dial(t, serve(t, k, nil))
	d.want("", "220")
	d.want("EHLO x\r\nMAIL FROM:<>\r\nBDAT 6 LAST\r\nRSET\r\nNOOP\r\n", "250-", "250", "554 5.5.1", "250")
	d.want("BDAT 3\r\nabc", "554")
}

func TestBinary(t *testing.T) {
	k := newTaker()
	d := dial(t, serve(t, k, func(c *smtp.ServerConfig) { c.Binary = func() bool { return true } }))
	d.want("", "220")
	d.want("EHLO x\r\nMAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n", "250-", "250", "250", "503")
	d.want("BDAT 6 LAST\r\na\nb\r\x00c", "250")
	if got := k.taken(); len(got) != 1 || got[0] != "a\nb\r\x00c" {
		t.Fatalf("taken %q", got)
	}
}

// TestLeftUnread: a handler that refuses before it read everything must not make the rest commands.
func TestLeftUnread(t *testing.T) {
	k := newTaker()
	k.stop, k.stopWith = 10, mail.MustReply(451, "4.3.0", "enough")
	d := dial(t, serve(t, k, nil))
	d.hello()
	d.want("DATA\r\n", "354")
	d.want(strings.Repeat("NOOP 0123456789\r\n", 5000)+".\r\nRSET\r\n", "451", "250 2.0.0 Ok")
	d.want("MAIL FROM:<>\r\nRCPT TO:<b@mx.test>\r\n", "250", "250")
	d.want("BDAT 20\r\n"+strings.Repeat("x", 20), "451")
	d.want("BDAT 3 LAST\r\nxyz", "451") // and not 503, which a pipelining client would take for the last word
	d.want("RSET\r\nQUIT\r\n", "250", "221")
}

// TestGone: whatever goes away in the middle of a message leaves no message.
func TestGone(t *testing.T) {
	whole := "DATA\r\nSubject: x\r\n\r\ntext\r\n.\r\n"
	for cut := len("DATA\r\n"); cut < len(whole); cut++ {
		k := newTaker()
		d := dial(t, serve(t, k, nil))
		d.hello()
		d.send(whole[:cut])
		d.nc.Close()
		<-k.closed
		if got := k.taken(); len(got) != 0 {
			t.Fatalf("cut at %d: taken %q", cut, got)
		}
	}
}

func TestTimeouts(t *testing.T) {
	quick := func(c *smtp.ServerConfig) {
		c.Timeouts.Command, c.Timeouts.Data, c.Timeouts.Message = 1500*time.Millisecond, 1500*time.Millisecond, 1500*time.Millisecond
	}
	t.Run("command", func(t *testing.T) {
		t.Parallel()
		d := dial(t, serve(t, newTaker(), quick))
		d.want("", "220", "421 4.4.2", "(closed)")
	})
	t.Run("data", func(t *testing.T) {
		t.Parallel()
		k := newTaker()
		d := dial(t, serve(t, k, quick))
		d.hello()
		d.want("DATA\r\nSubject: x\r\n", "354", "421 4.4.2")
		d.send("\r\n.\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n.\r\n")
		d.want("", "(")
		<-k.closed
		if len(k.taken()) != 0 || len(k.from) != 1 {
			t.Fatal("commands were run after a time-out inside the data")
		}
	})
}

func TestShutdown(t *testing.T) {
	k := newTaker()
	cfg := smtp.ServerConfig{Hostname: "mx.test", NewHandler: func(*smtp.Conn) smtp.Handler { return k }}
	s := smtp.NewServer(cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	idle, inMail, inData := dial(t, l.Addr().String()), dial(t, l.Addr().String()), dial(t, l.Addr().String())
	idle.want("", "220")
	inMail.want("", "220")
	inMail.want("EHLO x\r\nMAIL FROM:<>\r\n", "250-", "250")
	inData.hello()
	inData.want("DATA\r\n", "354")
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	idle.want("", "421 4.3.2", "(closed)")
	inMail.want("", "421 4.3.2", "(closed)")
	inData.want("text\r\n.\r\n", "250 2.0.0 taken", "421 4.3.2", "(closed)")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestEarlyTalker(t *testing.T) {
	k := newTaker()
	addr := serve(t, k, func(c *smtp.ServerConfig) { c.BannerDelay = 10 * time.Second })
	d := dial(t, addr)
	d.want("EHLO x\r\n", "220", "250-")
	if !k.early {
		t.Fatal("not noticed")
	}
}

func TestXClient(t *testing.T) {
	k := newTaker()
	var last *smtp.Conn
	d := dial(t, serve(t, k, func(c *smtp.ServerConfig) {
		c.XClient = func(a netip.Addr) bool { return a.IsLoopback() }
		c.NewHandler = func(c *smtp.Conn) smtp.Handler { last = c; return k }
	}))
	d.want("", "220")
	d.want("EHLO x\r\n", "250-mx.test|250-PIPELINING|250-SIZE 1048576|250-8BITMIME|250-SMTPUTF8|250-DSN|250-CHUNKING|250-XCLIENT NAME")
	d.want("XCLIENT ADDR=IPV6:2001:db8::1 PORT=77 NAME=real.example HELO=a+2Bb LOGIN=[UNAVAILABLE]\r\n", "220 mx.test")
	if p := last.Peer(); p.Addr != netip.MustParseAddr("2001:db8::1") || p.Port != 77 || p.Name != "real.example" || p.Helo != "a+b" || p.Login != "" {
		t.Fatalf("peer %+v", p)
	}
	d.want("MAIL FROM:<>\r\n", "503")
	d.want("XCLIENT ADDR=nonsense\r\n", "501")
	d.want("EHLO x\r\nMAIL FROM:<>\r\nXCLIENT ADDR=192.0.2.1\r\n", "250-", "250", "503")
}

// TestAnySplit sends random conversations in random pieces: what is taken is what was sent.
func TestAnySplit(t *testing.T) {
	k := newTaker()
	addr := serve(t, k, nil)
	rapid.Check(t, func(rt *rapid.T) {
		lines := rapid.SliceOfN(rapid.StringMatching(`[.a-z]{0,12}`), 0, 30).Draw(rt, "lines")
		var body, wire strings.Builder
		for _, l := range lines {
			body.WriteString(l + "\r\n")
			if strings.HasPrefix(l, ".") {
				wire.WriteByte('.')
			}
			wire.WriteString(l + "\r\n")
		}
		all := intro + "DATA\r\n" + wire.String() + ".\r\nQUIT\r\n"
		d := dial(t, addr)
		for all != "" {
			n := rapid.IntRange(1, 40).Draw(rt, "piece")
			n = min(n, len(all))
			d.send(all[:n])
			all = all[n:]
		}
		d.want("", "220", "250-", "250", "250", "354", "250 2.0.0 taken", "221")
		got := k.taken()
		if len(got) == 0 || got[len(got)-1] != body.String() {
			rt.Fatalf("sent %q, taken %q", body.String(), got)
		}
	})
}
