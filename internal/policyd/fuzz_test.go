package policyd_test

import (
	"bytes"
	"context"
	"net"
	"regexp"
	"strings"
	"testing"

	"backstop/internal/policyd"
)

// spoken is a connection from which everything has come that will come.
type spoken struct {
	mill
	in  *bytes.Reader
	out bytes.Buffer
	end chan struct{}
}

func (c *spoken) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *spoken) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *spoken) Close() error {
	select {
	case <-c.end:
	default:
		close(c.end)
	}
	return nil
}

// actions are those that access(5) takes for a refusal, and the one that leaves the matter open.
var actions = regexp.MustCompile(`^action=(DUNNO|4\d\d 4\.\d+\.\d+ .+|5\d\d 5\.\d+\.\d+ .+)$`)

// FuzzRequests: whatever is asked, nothing panics, and nobody is let past the operator's own restrictions.
func FuzzRequests(f *testing.F) {
	for _, tt := range objections {
		var all bytes.Buffer
		for _, r := range tt.requests {
			all.WriteString("request=smtpd_access_policy\n")
			for _, a := range request(r) {
				all.WriteString(a.Name + "=" + a.Value + "\n")
			}
			all.WriteString("\n")
		}
		f.Add(all.Bytes())
	}
	f.Add([]byte("request=other\nprotocol_state=RCPT\nrecipient=nobody@example.org\n\n"))
	f.Add([]byte("request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient=\xff\x00@example.org\nsender=@\n\n"))
	w := newWorld(f)
	d := policyd.New(w.config(policyd.Policy))
	conns := make(chan net.Conn)
	go d.Serve(one{conns, make(chan struct{})})
	f.Cleanup(func() { must(f, d.Shutdown(context.Background())) })
	f.Fuzz(func(t *testing.T, in []byte) {
		c := &spoken{in: bytes.NewReader(in), end: make(chan struct{})}
		conns <- c
		<-c.end
		for out := c.out.String(); out != ""; {
			answer, rest, ok := strings.Cut(out, "\n\n")
			if !ok || !actions.MatchString(answer) {
				t.Fatalf("answered %q", c.out.String())
			}
			out = rest
		}
		if log := w.ops.take(); strings.Contains(log, "internal error") {
			t.Fatal(log)
		}
		w.log.take()
	})
}
