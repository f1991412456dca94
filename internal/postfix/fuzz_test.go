package postfix

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"backstop/internal/listen"
)

// fuzz plays octets in whole and in pieces: the answers must be the same, and nothing panics.
func fuzz(t *testing.T, in []byte, server func(net.Conn, *Config, *echo) listen.Served) []byte {
	whole, said := play(t, bytes.NewReader(in), server)
	pieces, saidToo := play(t, &inPieces{in: in}, server)
	if !bytes.Equal(whole.out.Bytes(), pieces.out.Bytes()) || (said == nil) != (saidToo == nil) {
		t.Errorf("whole: %q, %v\nin pieces: %q, %v", whole.out.Bytes(), said, pieces.out.Bytes(), saidToo)
	}
	return whole.out.Bytes()
}

// inPieces gives 1, 2, 3 … octets at a time.
type inPieces struct {
	in []byte
	n  int
}

func (r *inPieces) Read(b []byte) (int, error) {
	if len(r.in) == 0 {
		return 0, io.EOF
	}
	r.n++
	n := copy(b, r.in[:min(r.n, len(r.in))])
	r.in = r.in[n:]
	return n, nil
}

func FuzzPolicy(f *testing.F) {
	for _, s := range []string{okRequest, okRequest + okRequest, "request=x\n\n", "\n", "request=x\n=\n\n", "a=b\n\n", "request=x\r\n", "request=x\nrecipient=hangup\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := string(fuzz(t, in, policyServer))
		for out != "" { // each answer is one line and an empty one
			answer, rest, ok := strings.Cut(out, "\n\n")
			if !ok || !strings.HasPrefix(answer, "action=") || strings.Contains(answer, "\n") {
				t.Fatalf("answered %q", out)
			}
			out = rest
		}
	})
}

func FuzzSocketmap(f *testing.F) {
	for _, s := range []string{"17:recipients a@b.de,", "3:a b,3:a c,", "0:,", "03:a b,", "3:a b;", "99999999:", "10:m longtext,"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for out := fuzz(t, in, socketServer); len(out) > 0; {
			n, _, err := netstring(out, maxSocketmapReply)
			if err != nil || n == 0 || n > len(out) {
				t.Fatalf("answered %.100q: %d, %v", out, n, err)
			}
			out = out[n:]
		}
	})
}

func FuzzTCPTable(f *testing.F) {
	for _, s := range []string{"get a@b.de\n", "get %41%0a\nget %4\n", "put a b\n", "get \n\n", "get longtext\nget long\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := string(fuzz(t, in, tcpServer))
		for line := range strings.Lines(out) {
			if !strings.HasSuffix(line, "\n") || len(line) > maxTCPTableReply || len(line) < 5 {
				t.Fatalf("answered %q", line)
			}
			code, text := line[:4], strings.ReplaceAll(line[4:len(line)-1], " ", "%20")
			if _, ok := unquoteHex(nil, []byte(text)); !ok || code != "200 " && code != "400 " && code != "500 " {
				t.Fatalf("answered %q", line)
			}
		}
	})
}
