package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// Step is one command and its answer.
type Step struct {
	Step  string  `json:"step"` // connect, banner, ehlo, mail, rcpt, …; wait; bounce
	Sent  string  `json:"sent"`
	Reply string  `json:"reply"` // or why there is none, in brackets
	MS    float64 `json:"ms"`
}

// maxRecord bounds what is kept of a conversation, maxReply of one answer, in octets.
const (
	maxRecord = 64 << 10
	maxReply  = 8 << 10
)

// recorder is a connection that remembers what went over it, until it is encrypted.
type recorder struct {
	net.Conn
	list []exchange
	size int
	dark bool // TLS: octets that nobody can read
	bulk bool // what is written is the message
}

type exchange struct {
	sent, got  []byte
	began, end time.Time
}

func (r *recorder) last() *exchange {
	if len(r.list) == 0 {
		r.list = append(r.list, exchange{began: time.Now(), end: time.Now()})
	}
	return &r.list[len(r.list)-1]
}

func (r *recorder) Read(b []byte) (int, error) {
	e := r.last()
	n, err := r.Conn.Read(b)
	if !r.dark {
		e.end = time.Now()
		e.got = append(e.got, r.keep(b[:min(n, max(0, maxReply-len(e.got)))])...)
	}
	return n, err
}

var startTLS = []byte("STARTTLS\r\n")

func (r *recorder) Write(b []byte) (int, error) {
	if len(r.list) > 0 && bytes.Equal(r.last().sent, startTLS) && bytes.HasPrefix(r.last().got, []byte("220")) {
		r.dark = true
	}
	switch now := time.Now(); {
	case r.dark:
	case r.bulk:
		r.list = append(r.list, exchange{sent: fmt.Appendf(nil, "(the message, %d octets)", len(b)), began: now, end: now})
	default:
		r.list = append(r.list, exchange{sent: append([]byte(nil), r.keep(b)...), began: now, end: now})
	}
	return r.Conn.Write(b)
}

// note writes down what went encrypted.
func (r *recorder) note(sent, got string, began time.Time) {
	if r.dark {
		r.list = append(r.list, exchange{sent: r.keep([]byte(sent)), got: r.keep([]byte(got)), began: began, end: time.Now()})
	}
}

// keep is how much of b there is room for.
func (r *recorder) keep(b []byte) []byte {
	b = b[:min(len(b), maxRecord-r.size)]
	r.size += len(b)
	return b
}

// took is how long the last answer took.
func (r *recorder) took() time.Duration {
	e := r.last()
	return e.end.Sub(e.began)
}

// reply is the answer to the nth command, from 0, which is the banner.
func (r *recorder) reply(n int) string {
	if n >= len(r.list) {
		return ""
	}
	return clean(r.list[n].got)
}

// ehlo is the answer to the last EHLO or HELO.
func (r *recorder) ehlo() []string {
	for i := len(r.list) - 1; i >= 0; i-- {
		if s := r.list[i].sent; bytes.HasPrefix(s, []byte("EHLO ")) || bytes.HasPrefix(s, []byte("HELO ")) {
			return strings.Split(clean(r.list[i].got), "\n")
		}
	}
	return nil
}

// steps are the conversation; err is what broke it, or nil.
func (r *recorder) steps(err error) []Step {
	var steps []Step
	for i, e := range r.list {
		s := Step{Step: "banner", Sent: clean(e.sent), Reply: clean(e.got), MS: millis(e.end.Sub(e.began))}
		if word, _, _ := strings.Cut(s.Sent, " "); strings.HasPrefix(s.Sent, "(") {
			s.Step = "message"
		} else if s.Sent != "" {
			s.Step = strings.ToLower(word)
		}
		if i == len(r.list)-1 && err != nil {
			s.Reply = strings.TrimPrefix(s.Reply+"\n", "\n") + "(" + reason(err) + ")"
		}
		steps = append(steps, s)
	}
	return steps
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// clean keeps what a stranger's server says from moving the terminal's cursor.
func clean(b []byte) string {
	s := strings.ReplaceAll(strings.TrimRight(string(b), "\r\n"), "\r\n", "\n")
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' || c == 0x7f || c == 0xfffd || c >= 0x80 && c < 0xa0 || c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 {
			return '?'
		}
		return c
	}, s)
}

// short is the beginning of s, of n octets at most, in whole characters.
func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// reason is an error of the network without the addresses, which the sentence has.
func reason(err error) string {
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return dns.Err
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &op) && op.Timeout():
		return "no answer in time"
	case errors.As(err, &op):
		return op.Err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it closed the connection without a word"
	}
	text := clean([]byte(err.Error()))
	return strings.ReplaceAll(short(text, 300), "\n", " ")
}
