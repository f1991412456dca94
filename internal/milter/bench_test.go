package milter_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"backstop/internal/milter"
)

// plain is a handler that reads and says yes.
type plain struct{}

func (plain) Connect(milter.Client) milter.Response         { return milter.Response{} }
func (plain) Helo(string) milter.Response                   { return milter.Response{} }
func (plain) Mail(string, []string) milter.Response         { return milter.Response{} }
func (plain) Rcpt(string, []string) milter.Response         { return milter.Response{} }
func (plain) Data() milter.Response                         { return milter.Response{} }
func (plain) Unknown(string) milter.Response                { return milter.Response{} }
func (plain) Message(m *milter.Message) (r milter.Response) { io.Copy(io.Discard, m); return r }
func (plain) Abort()                                        {}
func (plain) Close()                                        {}

// counted is played that counts writes.
type counted struct {
	played
	writes int
}

func (c *counted) Write(b []byte) (int, error) { c.writes++; return c.played.Write(b) }

// TestOneWrite: each answer is one write, with all changes in it.
func TestOneWrite(t *testing.T) {
	nc := &counted{played: played{in: []byte(oneMail)}}
	r := &recorder{say: map[string]milter.Response{"message": {Changes: &milter.Changes{
		From: &milter.Sender{Address: "a"}, Insert: []milter.Header{{Name: "A", Value: strings.Repeat(" b", 30_000)}, {Name: "B", Value: " c"}}}}}}
	milter.NewConn(nc, &milter.Config{Actions: everything, NewHandler: func(c *milter.Conn) milter.Handler { return r }}).Serve()
	if want := asks(split(t, oneMail)); nc.writes != want {
		t.Errorf("%d writes, want %d", nc.writes, want)
	}
	if n := len(split(t, nc.out.String())); n != nc.writes+3 {
		t.Errorf("%d packets in %d writes", n, nc.writes)
	}
}

// TestIdle: a connection that waits holds little, whatever went over it before.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		mta := start(t, r, milter.Config{}, milter.Offer{})
		if _, err := mta.Connect(client); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := mail1(mta, []byte(strings.Repeat("x", 100_000))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := r.conn.Holds(); n > 1024 {
				t.Errorf("it holds %d octets", n)
			}
		}
		over(t, r, mta)
	})
}

// BenchmarkTransaction is the filter's work for one recipient and a message of 4 KB, without the kernel's.
func BenchmarkTransaction(b *testing.B) {
	one := packet('D', "Mi\x00ABCDEF012345\x00{mail_addr}\x00a@example.org\x00") + packet('M', "<a@example.org>\x00SIZE=4000\x00") +
		packet('D', "R{rcpt_addr}\x00b@example.com\x00") + packet('R', "<b@example.com>\x00") + packet('T', "") +
		strings.Repeat(packet('L', "Subject\x00 hello\x00"), 10) + packet('N', "") + packet('B', strings.Repeat("x", 4000)) + packet('E', "") + packet('A', "")
	cfg := &milter.Config{Steps: usual, Actions: everything, NewHandler: func(*milter.Conn) milter.Handler { return plain{} }}
	nc := &played{in: []byte(connected + strings.Repeat(one, b.N))}
	nc.out.Grow(5*10*b.N + 100)
	b.ReportAllocs()
	b.ResetTimer()
	milter.NewConn(nc, cfg).Serve()
}
