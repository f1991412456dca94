package verify

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"
)

// FuzzServer is a server that says anything: there is always an answer, it is fit for a terminal, and nothing
// but a refusal of the unknown recipient, or watch mode, is taken for success.
func FuzzServer(f *testing.F) {
	const good = "220 mx ESMTP\r\n250-mx\r\n250 PIPELINING\r\n250 ok\r\n"
	for _, s := range []string{
		good + byUs + "\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n221 bye\r\n",
		good + byPostfix + "\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
		good + "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
		good + "451 4.1.1 not verified, try again later" + id + "\r\n",
		"554 5.7.1 no\x1b[2J\r\n", "220-a\r\n221 b\r\n", "SSH-2.0\r\n", "220 \xff\xfe\x9b\r\n421 x\r\n", "",
	} {
		f.Add(s, true, true)
		f.Add(s, false, false)
	}
	f.Fuzz(func(t *testing.T, says string, daemon, maps bool) {
		ours, theirs := net.Pipe()
		go func() {
			go io.Copy(io.Discard, theirs)
			io.WriteString(theirs, says)
			theirs.Close()
		}()
		p := Plan{Server: "mx:25", Domain: "example.com", Nobody: nobody, Doors: []string{"milter"}, MTA: "Postfix"}
		if maps {
			p.Doors = []string{"socketmap"}
		}
		talk := p.converse(context.Background(), ours, time.Minute)
		r := Report{Doors: p.Doors, Server: p.Server}
		if daemon {
			r.Asked = &daemon
		}
		r.judge(&p, &talk, &Counts{})
		if r.Says == "" || r.Outcome == "" {
			t.Fatalf("no answer: %+v", r)
		}
		if r.Result == Works && talk.nobody.Class() != 5 {
			t.Errorf("%s: %s", r.Outcome, r.Says)
		}
		text := r.Says + strings.Join(r.Hints, "")
		for _, s := range talk.steps {
			text += strings.ReplaceAll(s.Sent+s.Reply, "\n", "")
		}
		if i := strings.IndexFunc(text, unicode.IsControl); i >= 0 {
			t.Errorf("a control character at %d: %q", i, text)
		}
	})
}
