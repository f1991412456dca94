package smtp_test

import (
	"sync/atomic"
	"testing"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// broken panics where it is told to.
type broken struct {
	*taker
	at string
}

func (b broken) Rcpt(to mail.Address, p smtp.RcptParams) mail.Reply {
	if b.at == "rcpt" {
		panic("rcpt")
	}
	return b.taker.Rcpt(to, p)
}

func (b broken) Message(body *smtp.BodyReader) mail.Reply {
	if b.at == "message" {
		panic("message")
	}
	return b.taker.Message(body)
}

func (b broken) Violation(v smtp.Violation) mail.Reply {
	if b.at == "message" {
		panic("again")
	}
	return mail.MustReply(451, "4.3.0", "Temporary failure, reference")
}

// TestPanic: a fault of ours is a 4xx, ends one connection, and no other.
func TestPanic(t *testing.T) {
	for _, at := range []string{"rcpt", "message", "start"} {
		var told atomic.Int32
		k := newTaker()
		addr := serve(t, k, func(c *smtp.ServerConfig) {
			c.Panic = func(any, []byte) { told.Add(1) }
			c.NewHandler = func(*smtp.Conn) smtp.Handler {
				if at == "start" && told.Load() == 0 {
					panic("start")
				}
				return broken{k, at}
			}
		})
		d := dial(t, addr)
		switch at {
		case "start":
			d.want("", "451 4.3.0 Temporary failure", "(closed)")
			d = dial(t, addr)
			d.hello()
			continue
		case "rcpt":
			d.want("", "220")
			d.want("EHLO x\r\nMAIL FROM:<>\r\n", "250-", "250")
			d.want("RCPT TO:<b@mx.test>\r\n", "451 4.3.0 Temporary failure, reference", "(closed)")
		case "message":
			d.hello()
			d.want("DATA\r\n", "354")
			d.want("", "451 4.3.0 Temporary failure", "(closed)")
		}
		<-k.closed
		if told.Load() != 1 || len(k.taken()) != 0 {
			t.Fatalf("at %s: told %d times, taken %q", at, told.Load(), k.taken())
		}
		dial(t, addr).want("", "220")
	}
}
