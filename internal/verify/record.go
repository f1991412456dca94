package verify

import (
	"net"
	"strings"
	"time"
)

// Step is one command and its answer.
type Step struct {
	Sent  string  `json:"sent"` // "" for the banner
	Reply string  `json:"reply"`
	MS    float64 `json:"ms"` // from the command to the last octet of the answer
}

// maxRecord bounds what is kept of a conversation, in octets.
const maxRecord = 64 << 10

// recorder is a connection that remembers what went over it.
type recorder struct {
	net.Conn
	list []exchange
	size int
}

type exchange struct {
	sent, got  []byte
	began, end time.Time
}

func (r *recorder) last() *exchange {
	if len(r.list) == 0 {
		r.list = append(r.list, exchange{began: time.Now()})
	}
	return &r.list[len(r.list)-1]
}

func (r *recorder) Read(b []byte) (int, error) {
	e := r.last()
	n, err := r.Conn.Read(b)
	e.end = time.Now()
	e.got = append(e.got, r.keep(b[:n])...)
	return n, err
}

func (r *recorder) Write(b []byte) (int, error) {
	now := time.Now()
	r.list = append(r.list, exchange{sent: append([]byte(nil), r.keep(b)...), began: now, end: now})
	return r.Conn.Write(b)
}

// keep is how much of b there is room for.
func (r *recorder) keep(b []byte) []byte {
	b = b[:min(len(b), maxRecord-r.size)]
	r.size += len(b)
	return b
}

func (r *recorder) steps() []Step {
	steps := []Step{}
	for _, e := range r.list {
		steps = append(steps, Step{
			Sent: clean(e.sent), Reply: clean(e.got),
			MS: float64(e.end.Sub(e.began).Microseconds()) / 1000,
		})
	}
	return steps
}

// clean keeps what a stranger's server says from moving the terminal's cursor.
func clean(b []byte) string {
	s := strings.ReplaceAll(strings.TrimRight(string(b), "\r\n"), "\r\n", "\n")
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' || c == 0x7f || c == 0xfffd || c >= 0x80 && c < 0xa0 {
			return '?'
		}
		return c
	}, s)
}
