package milterd_test

import (
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/journal"
	"backstop/internal/mail"
	"backstop/internal/milter"
)

// idler is a handler without a session: what the wire alone costs.
type idler struct{}

var no = milter.Response{Action: milter.Reply, Reply: mail.MustReply(550, "5.1.1", "User unknown").About("nobody@example.org")}

func (idler) Connect(milter.Client) milter.Response { return milter.Response{} }
func (idler) Helo(string) milter.Response           { return milter.Response{} }
func (idler) Mail(string, []string) milter.Response { return milter.Response{} }
func (idler) Data() milter.Response                 { return milter.Response{} }
func (idler) Unknown(string) milter.Response        { return milter.Response{} }
func (idler) Abort()                                {}
func (idler) Close()                                {}
func (idler) Rcpt(to string, _ []string) milter.Response {
	if strings.HasPrefix(to, "nobody") {
		return no
	}
	return milter.Response{}
}
func (idler) Message(m *milter.Message) milter.Response {
	io.Copy(io.Discard, m)
	return milter.Response{}
}

// BenchmarkMilter is one transaction on an open connection, with journal and a list of recipients; "wire" is the same without door and
// session. ours-µs is what the process took of the processor but for the thread that plays the mail server.
func BenchmarkMilter(b *testing.B) {
	text := letter + strings.Repeat("A line of seventy-eight octets, as most of those are that people write, end.\r\n", 50)
	strict := func(w *world) {
		w.org.Guards = evidence.Guards{SPF: evidence.CheckMark, DMARC: evidence.CheckMark, Bounces: evidence.JudgeWatch}
	}
	for _, bc := range []struct {
		name   string
		client milter.Client
		to     string
		set    func(*world)
	}{
		{"refused", stranger, "nobody@example.org", strict},
		{"accepted", stranger, "bob@example.org", strict},
		{"leaves", server, "ann@far.example", func(w *world) { w.leaving() }},
		{"notOurs", stranger, "ann@hosted.example", strict},
	} {
		b.Run(bc.name, func(b *testing.B) {
			w := newWorld(b)
			w.cfg.Journal = journal.New(io.Discard, journal.JSON)
			defer w.cfg.Journal.Close()
			bc.set(w)
			run(b, w.open().from(bc.client), bc.to, text)
		})
		b.Run(bc.name+"/wire", func(b *testing.B) {
			w := newWorld(b).open()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(b, err)
			defer l.Close()
			w.addr = l.Addr().String()
			go func() {
				if nc, err := l.Accept(); err == nil {
					milter.NewConn(nc, &milter.Config{
						NewHandler: func(*milter.Conn) milter.Handler { return idler{} },
						Steps:      milter.NRHeader | milter.NREOH | milter.Skip | milter.HeaderLeadSpace,
					}).Serve()
				}
			}()
			run(b, w.from(bc.client), bc.to, text)
		})
	}
}

func run(b *testing.B, m *mta, to, text string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fields, body := split(text)
	b.ReportAllocs()
	all, mine := cpu(b, syscall.RUSAGE_SELF), cpu(b, syscall.RUSAGE_THREAD)
	for b.Loop() {
		m.Macros(milter.StageMail, "i", "4bXyZ1234")
		a, err := m.Mail("bob@example.org", "SIZE=4000")
		must(b, err)
		if a, err = m.Rcpt(to); err != nil || a.Action != milter.Continue {
			must(b, err)
			must(b, m.Abort())
			continue
		}
		if a = m.parts(fields, body); a.Action == milter.Reply {
			b.Fatal(a.Text)
		}
		must(b, m.Abort())
	}
	ours := cpu(b, syscall.RUSAGE_SELF) - all - (cpu(b, syscall.RUSAGE_THREAD) - mine)
	b.ReportMetric(float64(ours.Microseconds())/float64(b.N), "ours-µs/op")
	must(b, m.Quit())
}

// cpu is what this process, or thread, took of the processor so far.
func cpu(b *testing.B, who int) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(who, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
