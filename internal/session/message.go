package session

import (
	"errors"
	"io"
	"sync"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// headSize is how much of a message is held before the downstream hears of it:
// enough to see the whole header of all but freaks, and to hand a small message on in one piece.
const headSize = 64 << 10

var heads = sync.Pool{New: func() any { b := make([]byte, headSize); return &b }}

// Message reads the message's data and hands it on; the verdict's reply is the final one.
func (s *Session) Message(body io.Reader) verdict.Verdict {
	start := s.e.Now()
	s.c.Stage = evidence.StageData
	s.c.Downstream = evidence.Answer{}
	buf := heads.Get().(*[]byte)
	defer heads.Put(buf)
	n, err := readHead(body, *buf)
	head := (*buf)[:n]
	whole := errors.Is(err, io.EOF)
	s.c.Message = evidence.Message{Read: whole, Size: int64(n)}
	s.inspect(head)
	if err != nil && !whole {
		s.fault(err)
		if s.c.Message.Fault == evidence.NoFault && !s.c.Message.TooBig {
			return s.lost(err)
		}
	}
	rest := &remainder{head: head, body: body, whole: whole}
	v := s.gather(func(q evidence.Question) {
		if q != evidence.AskDownstreamMessage {
			return
		}
		s.c.Final = s.tx.Data(s.ctx, s.received(), rest)
		s.c.Message.Size += rest.size
		if rest.err != nil {
			s.fault(rest.err)
		}
	})
	if rest.err != nil && s.c.Message.Fault == evidence.NoFault && !s.c.Message.TooBig {
		return s.lost(rest.err)
	}
	if v.Effect != verdict.Accept {
		s.tx.Abort()
	}
	for _, to := range s.rcpts { // one line a recipient: that is what an operator searches for
		s.c.To = to
		s.record(v, start)
	}
	return s.finish(v)
}

// lost is a message whose sender went away or gave up: nobody hears the reply,
// nothing was decided, and the operator who looks for the mail finds why it is not there.
func (s *Session) lost(err error) verdict.Verdict {
	s.tx.Abort()
	s.e.Logger.Info("the message was not finished by its sender", "id", s.id.String(), "client", s.c.Client.Addr.String(),
		"from", s.c.From.String(), "recipients", len(s.rcpts), "octets", s.c.Message.Size, "error", err.Error())
	return s.finish(verdict.Internal())
}

// readHead fills buf as far as the body goes. io.EOF says that this was all.
func readHead(body io.Reader, buf []byte) (int, error) {
	n := 0
	for n+2 <= len(buf) {
		k, err := body.Read(buf[n:])
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// remainder is the body as the relay reads it: the head that is held, then the
// rest as it comes. It remembers what went wrong with the sender, as apart from the downstream.
type remainder struct {
	head  []byte
	body  io.Reader
	whole bool
	size  int64
	err   error
}

func (r *remainder) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	if r.whole {
		return 0, io.EOF
	}
	n, err := r.body.Read(p)
	r.size += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// Buffered returns what can be had without waiting, for a relay that can send it in one piece; whole
// says that nothing follows. What is returned is still read by Read.
func (r *remainder) Buffered() (head []byte, whole bool) { return r.head, r.whole }

// fault takes a body's error for evidence where it is about the message.
func (s *Session) fault(err error) {
	var f *smtp.FaultError
	switch {
	case errors.As(err, &f):
		s.c.Message.Fault = faults[f.Fault]
	case errors.Is(err, smtp.ErrTooBig):
		s.c.Message.TooBig = true
	}
}

var faults = map[smtp.Fault]evidence.Fault{
	smtp.FaultBareCR:   evidence.FaultBareCR,
	smtp.FaultBareLF:   evidence.FaultBareLF,
	smtp.FaultNUL:      evidence.FaultNUL,
	smtp.FaultLongLine: evidence.FaultLongLine,
}

// Recipients are the accepted ones, as the client gave them.
func (s *Session) Recipients() []mail.Address { return s.rcpts }
