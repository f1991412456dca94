package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// Flood is a short burst of what makes backscatter: spam with forged senders to
// users who do not exist, with some good mail among it.
type Flood struct {
	Dial    func(context.Context) (net.Conn, error) // connects to the gateway
	Server  *MailServer                             // who stands behind it
	Forged  int                                     // messages with forged senders to unknown users
	Good    int                                     // messages to users who exist
	Senders int                                     // connections open at a time
}

// Result is what became of a flood.
type Result struct {
	Sent      int `json:"sent"`            // messages offered
	Forged    int `json:"forged"`          // of them with forged senders, to unknown users
	Victims   int `json:"forged_domains"`  // domains whose names were forged
	Refused   int `json:"refused_at_rcpt"` // recipients answered 5xx
	Deferred  int `json:"deferred"`        // messages answered 4xx, or cut off
	Accepted  int `json:"accepted"`        // messages answered 250 after the data
	Delivered int `json:"delivered"`       // good messages found whole in the mailbox they were sent to
	// WouldHaveBounced counts the unknown recipients refused: a server that accepts
	// first and looks later sends a bounce for each, to somebody who never wrote.
	WouldHaveBounced int `json:"would_have_bounced"`
	// Bounced counts what was accepted and is in no mailbox, so that somebody would
	// have to write a bounce for it.
	Bounced int           `json:"bounced"`
	Took    time.Duration `json:"-"`
	CPU     time.Duration `json:"-"` // of sender, gateway and mail server together
}

// victims is how many innocent domains the forged senders are spread over.
const victims = 97

// Run plays the flood and counts. Its error is ctx's; a message that goes wrong is
// counted, not reported. progress, which may be nil, is called after each message.
func (f *Flood) Run(ctx context.Context, progress func(done, total int)) (Result, error) {
	before, _ := f.Server.Stored()
	total := f.Forged + f.Good
	r := Result{Sent: total, Forged: f.Forged, Victims: min(victims, f.Forged)}
	var refused, deferred, accepted, next, done atomic.Int64
	cpu, start := processCPU(), time.Now()
	var all sync.WaitGroup
	for range max(f.Senders, 1) {
		all.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= total {
					return
				}
				switch f.send(ctx, n) {
				case taken:
					accepted.Add(1)
				case noSuchUser:
					refused.Add(1)
				default:
					deferred.Add(1)
				}
				if d := int(done.Add(1)); progress != nil {
					progress(d, total)
				}
			}
		})
	}
	all.Wait()
	r.Took, r.CPU = time.Since(start), processCPU()-cpu
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	r.Refused, r.Deferred, r.Accepted = int(refused.Load()), int(deferred.Load()), int(accepted.Load())
	r.WouldHaveBounced = r.Refused
	after, _ := f.Server.Stored()
	r.Bounced = r.Accepted - (after - before)
	r.Delivered = f.delivered()
	return r, nil
}

// fate is what became of one message.
type fate uint8

const (
	putOff     fate = iota // 4xx, a lost connection, or anything not understood
	noSuchUser             // 5xx at RCPT
	taken                  // 250 at the end
)

// isGood spreads the good messages evenly through the flood.
func (f *Flood) isGood(n int) bool {
	total := f.Forged + f.Good
	return (n+1)*f.Good/total > n*f.Good/total
}

// envelope is the sender and the recipient of the nth message.
func (f *Flood) envelope(n int) (from, to string) {
	if f.isGood(n) {
		users := f.Server.Users()
		return fmt.Sprintf("friend%d@example.org", n), users[n%len(users)] + "@" + f.Server.domain
	}
	return fmt.Sprintf("forged%d@victim%d.example.net", n, n%victims), fmt.Sprintf("nobody%d@%s", n, f.Server.domain)
}

// body is the nth message. Its dots and its octets above 127 must arrive as they are.
func (f *Flood) body(n int) []byte {
	from, to := f.envelope(n)
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: <%s>\r\nTo: <%s>\r\nSubject: message %d of the flood\r\n", from, to, n)
	fmt.Fprintf(&b, "Message-ID: <flood.%d@example.org>\r\n\r\n", n)
	fmt.Fprintf(&b, "Number %d.\r\n.\r\n..\r\n\xc3\xa9\xff\r\n", n)
	return b.Bytes()
}

// send plays one message in a connection of its own, as the senders of such floods do.
func (f *Flood) send(ctx context.Context, n int) fate {
	fromText, toText := f.envelope(n)
	from, err1 := mail.ParseAddress(fromText)
	to, err2 := mail.ParseAddress(toText)
	if errors.Join(err1, err2) != nil {
		return putOff
	}
	nc, err := f.Dial(ctx)
	if err != nil {
		return putOff
	}
	c, err := smtp.NewClient(ctx, nc, smtp.ClientConfig{LocalName: "flood.example.net", TLS: smtp.TLSOff})
	if err != nil {
		nc.Close()
		return putOff
	}
	defer c.Close()
	b := c.Batch()
	b.Mail(mail.ReversePath{Address: from}, smtp.MailParams{Body: smtp.Body8BitMIME})
	b.Rcpt(to, smtp.RcptParams{})
	answers, err := b.Do(ctx)
	if err != nil || len(answers) < 2 || answers[0].Class() != 2 {
		return putOff
	}
	switch answers[1].Class() {
	case 5:
		return noSuchUser
	case 2:
		return f.sendData(ctx, c, n)
	}
	return putOff
}

func (f *Flood) sendData(ctx context.Context, c *smtp.Client, n int) fate {
	b := c.Batch()
	b.Data()
	answers, err := b.Do(ctx)
	if err != nil || len(answers) < 1 || answers[0].Code != 354 {
		return putOff
	}
	final, err := c.SendData(ctx, nil, bytes.NewReader(f.body(n)))
	if err != nil || final.Class() != 2 {
		return putOff
	}
	return taken
}

// delivered counts the good messages that stand whole at the end of a file of
// their recipient's mailbox (before them stands what the gateway added).
func (f *Flood) delivered() int {
	found := 0
	for i, user := range f.Server.users {
		files, err := filepath.Glob(filepath.Join(f.Server.Mailbox(user), "*.eml"))
		if err != nil {
			continue
		}
		var stored [][]byte
		for _, name := range files {
			if b, err := os.ReadFile(name); err == nil {
				stored = append(stored, b)
			}
		}
		for n := range f.Forged + f.Good {
			if f.isGood(n) && n%len(f.Server.users) == i && contained(stored, f.body(n)) {
				found++
			}
		}
	}
	return found
}

func contained(stored [][]byte, body []byte) bool {
	for _, b := range stored {
		if bytes.HasSuffix(b, body) {
			return true
		}
	}
	return false
}

// processCPU is the processor time that this process has used, in user and kernel mode.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
