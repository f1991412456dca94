package milter_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"backstop/internal/mail"
	"backstop/internal/milter"
)

// played is a connection whose other half is known beforehand: it is read in pieces, then the
// other side is gone. What is written is kept.
type played struct {
	in     []byte
	pieces []byte // sizes, over and over; none: as much as there is
	reads  int
	out    bytes.Buffer
	closed int
}

func (p *played) Read(b []byte) (int, error) {
	n := min(len(b), len(p.in))
	if len(p.pieces) > 0 {
		n = min(n, int(p.pieces[p.reads%len(p.pieces)])+1)
		p.reads++
	}
	if n == 0 {
		return 0, io.EOF
	}
	copy(b, p.in[:n])
	p.in = p.in[n:]
	return n, nil
}

func (p *played) Write(b []byte) (int, error)      { return p.out.Write(b) }
func (p *played) Close() error                     { p.closed++; return nil }
func (p *played) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8891} }
func (p *played) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000} }
func (p *played) SetDeadline(time.Time) error      { return nil }
func (p *played) SetReadDeadline(time.Time) error  { return nil }
func (p *played) SetWriteDeadline(time.Time) error { return nil }

// judge is a handler that answers as its seed says, and objects to events in a wrong order.
type judge struct {
	t         *testing.T
	c         *milter.Conn
	seed      []byte
	asked     int
	connected bool
	open      bool
	data      bool
	closed    bool
}

func (j *judge) say(event string, right bool) milter.Response {
	if !right || j.closed {
		j.t.Errorf("%s at a wrong time: %+v", event, j)
	}
	j.c.Macro("i")
	if len(j.seed) == 0 {
		return milter.Response{}
	}
	b := j.seed[j.asked%len(j.seed)]
	j.asked++
	r := milter.Response{Action: milter.Action(b % 7)}
	if b&8 != 0 {
		r.Reply = mail.MustReply(550, "5.1.1", "100% no\nat all")
	}
	if b&16 != 0 {
		r.Changes = &milter.Changes{From: &milter.Sender{Address: "a\x00b", Args: "x"}, Insert: []milter.Header{{Name: "A", Value: " b\nc"}},
			Edit: []milter.HeaderEdit{{Name: "A", Nth: 1}, {Name: "B", Nth: 2, Delete: true}}, Quarantine: "q"}
	}
	return r
}

func (j *judge) Connect(milter.Client) milter.Response {
	r := j.say("connect", !j.connected)
	j.connected = true
	return r
}
func (j *judge) Helo(string) milter.Response { return j.say("helo", j.connected && !j.open) }
func (j *judge) Mail(string, []string) milter.Response {
	r := j.say("mail", j.connected && !j.open)
	j.open, j.data = true, false
	return r
}
func (j *judge) Rcpt(string, []string) milter.Response { return j.say("rcpt", j.open && !j.data) }
func (j *judge) Data() milter.Response {
	r := j.say("data", j.open && !j.data)
	j.data = true
	return r
}
func (j *judge) Unknown(string) milter.Response { return j.say("unknown", j.connected) }
func (j *judge) Abort() {
	if !j.open || j.closed {
		j.t.Errorf("abort at a wrong time: %+v", j)
	}
	j.open = false
}
func (j *judge) Close() {
	if j.open || j.closed {
		j.t.Errorf("close at a wrong time: %+v", j)
	}
	j.closed = true
}
func (j *judge) Message(m *milter.Message) milter.Response {
	r := j.say("message", j.open && j.data)
	var err error
	switch b := byte(len(j.seed)); b % 3 {
	case 0:
		_, err = io.Copy(io.Discard, m)
	case 1:
		_, err = io.CopyN(io.Discard, m, 10)
	}
	if err != nil && err != io.EOF && !errors.Is(err, milter.ErrAborted) {
		j.t.Errorf("read: %v", err)
	}
	m.Progress()
	return r
}

// framed makes packets of octets: command, length, data, and so on.
func framed(b []byte) string {
	var s strings.Builder
	for len(b) >= 2 {
		n := min(int(b[1]), len(b)-2)
		s.WriteString(packet(b[0], string(b[2:2+n])))
		b = b[2+n:]
	}
	return s.String()
}

// unframed is its inverse, for seeds.
func unframed(t testing.TB, s string) []byte {
	var b []byte
	for len(s) > 0 {
		n := int(binary.BigEndian.Uint32([]byte(s))) + 4
		if n-5 > 255 {
			t.Fatal("a seed is too long")
		}
		b = append(append(b, s[4], byte(n-5)), s[5:n]...)
		s = s[n:]
	}
	return b
}

var oneMail = rcpted + packet('D', "Tj\x00x\x00") + packet('T', "") + packet('L', "Subject\x00 a\n b\x00") + packet('N', "") + packet('B', "text\r\n") + packet('E', "")

// FuzzServer plays an MTA that sends anything: as it is, or in whole packets. No panic, handlers are told events in
// their order, answers are packets and never more than there were questions.
func FuzzServer(f *testing.F) {
	whole := unframed(f, oneMail+packet('A', "")+packet('M', "<>\x00")+packet('U', "x\x00")+packet('K', "")+packet('C', "b\x00U")+packet('Q', ""))
	f.Add([]byte(oneMail), []byte{}, false, []byte{}, uint32(0))
	f.Add([]byte(oneMail), []byte{0}, false, []byte{0, 0, 0, 0, 0, 16}, uint32(usual))
	f.Add(whole, []byte{3, 200}, true, []byte{0}, uint32(usual))
	f.Add(whole, []byte{}, true, []byte{0, 0, 13, 5, 16, 1}, uint32(0))
	f.Add(whole, []byte{}, true, []byte{0, 0, 0, 0, 0, 17, 24}, uint32(0xffffffff))
	f.Add([]byte("\xff\xff\xff\xffB"), []byte{}, false, []byte{}, uint32(0))
	f.Fuzz(func(t *testing.T, in, pieces []byte, whole bool, seed []byte, steps uint32) {
		text := string(in)
		if whole {
			text = framed(in)
		}
		nc := &played{in: []byte(text), pieces: pieces}
		var handlers []*judge
		milter.NewConn(nc, &milter.Config{
			Actions: everything, Steps: milter.StepMask(steps), Macros: map[milter.Stage]string{milter.StageConnect: "j"},
			NewHandler: func(c *milter.Conn) milter.Handler {
				handlers = append(handlers, &judge{t: t, c: c, seed: seed})
				return handlers[len(handlers)-1]
			},
			Panic: func(v any, stack []byte) { t.Errorf("panic: %v\n%s", v, stack) },
		}).Serve()
		if nc.closed == 0 {
			t.Error("the connection was not closed")
		}
		for _, h := range handlers {
			if !h.closed {
				t.Errorf("a handler was not told the end: %+v", h)
			}
		}
		final := 0
		for _, p := range split(t, nc.out.String()) {
			if strings.IndexByte("Ocartdsy", p[0]) >= 0 {
				final++
			}
		}
		if n := questions(text); final > n {
			t.Errorf("%d answers to %d questions: %q", final, n, nc.out.String())
		}
	})
}

// questions counts, at most, what can be answered.
func questions(s string) int {
	n := 0
	for len(s) >= 5 {
		size := int64(binary.BigEndian.Uint32([]byte(s))) + 4
		if size == 4 || size > int64(len(s)) {
			return n
		}
		if !strings.ContainsRune("DAQK", rune(s[4])) {
			n++
		}
		s = s[size:]
	}
	return n
}

// FuzzClient plays a filter that answers anything.
func FuzzClient(f *testing.F) {
	agreed := packet('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x04\x00\x00\x00\x00\x01i j\x00")
	yes := packet('c', "")
	f.Add([]byte(agreed+strings.Repeat(yes, 9)), []byte{})
	f.Add([]byte(agreed+strings.Repeat(yes, 8)+packet('p', "")+packet('i', "\x00\x00\x00\x01A\x00b\x00")+packet('m', "\x00\x00\x00\x01A\x00\x00")+
		packet('h', "A\x00b\x00")+packet('+', "<a>\x00")+packet('2', "<a>\x00b\x00")+packet('-', "<a>\x00")+packet('e', "<a>\x00")+packet('b', "x")+packet('q', "y\x00")+packet('a', "")), []byte{0})
	f.Add([]byte(agreed+packet('y', "550 5.1.1 100%% no\x00")), []byte{})
	f.Add([]byte(agreed+packet('y', "550-5.1.1 a\r\n550 5.1.1 b\x00")), []byte{})
	f.Add([]byte(agreed+strings.Repeat(yes, 7)+packet('s', "")+yes), []byte{})
	f.Add([]byte(packet('O', "\x00\x00\x00\x06\x00\x00\x00\x00\x00\x1f\xff\xff")), []byte{})
	f.Add([]byte("\xff\xff\xff\xffO"), []byte{})
	f.Fuzz(func(t *testing.T, in, pieces []byte) {
		nc := &played{in: in, pieces: pieces}
		mta, err := milter.NewMTA(nc, milter.Offer{})
		if err != nil {
			if nc.closed == 0 {
				t.Error("the connection was not closed")
			}
			return
		}
		mta.Macros(milter.StageConnect, "j", "x")
		a, err := talk(mta)
		if err == nil && a.Action == milter.Reply && a.Code()/100 != 4 && a.Code()/100 != 5 {
			t.Errorf("%+v", a)
		}
		mta.Quit()
		split(t, nc.out.String())
	})
}
