package session

import (
	"errors"
	"io"
	"net/netip"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// Message reads the message's data and hands it on; the verdict's reply is the final one.
func (s *Session) Message(body io.Reader) verdict.Verdict {
	start := s.e.Now()
	s.c.Stage = evidence.StageData
	s.c.Downstream = evidence.Answer{}
	s.settle()
	m := s.takeMessage(body)
	defer m.release()
	if v, over := s.gone(m); over {
		return v
	}
	v := s.gather(func(q evidence.Question) {
		switch q {
		case evidence.AskRedirect:
			s.redirect()
		case evidence.AskDownstreamMessage:
			s.handOn(m)
		default:
			s.askMessage(q, m)
		}
	})
	if v, over := s.gone(m); over {
		return v
	}
	if !positive(v) {
		s.tx.Abort()
	}
	return s.decided(m, v, start)
}

// decided writes down what became of a message.
func (s *Session) decided(m *holding, v verdict.Verdict, start time.Time) verdict.Verdict {
	s.note(m, v)
	s.notice = notice{}          // it is made of the message's own octets
	for _, to := range s.rcpts { // one line a recipient: that is what an operator searches for
		s.c.To = to
		s.record(v, start)
	}
	return s.finish(v)
}

// settle lays down what holds for the message: the last recipient who was asked about may have been refused.
func (s *Session) settle() {
	if len(s.rcpts) > 0 {
		s.c.To = s.rcpts[0]
	}
	if s.domain != nil && !s.c.Leaves {
		s.c.Mode, s.c.Guards = s.domain.Mode, s.guards(s.domain)
	}
}

// positive says that the message was taken.
func positive(v verdict.Verdict) bool {
	return v.Effect == verdict.Accept || v.Effect == verdict.Redirect
}

// takeMessage reads the head of a message, and looks at its trace.
func (s *Session) takeMessage(body io.Reader) *holding {
	m := hold(body, s.e.Spool)
	m.fill(headSize)
	end, found := m.header()
	if !found {
		m.fill(maxHeader)
		end, found = m.header()
		if !found && m.short {
			m.noRoom(errNoMemory)
		}
	}
	s.c.Message = evidence.Message{Read: m.whole, Size: m.size(), LongHead: !found && m.err == nil}
	if s.params.Body == smtp.BodyBinaryMIME {
		s.c.Message.Fault = m.stray()
	}
	s.inspect(m.mem[:end])
	return m
}

// askMessage finds out what the message itself shows.
func (s *Session) askMessage(q evidence.Question, m *holding) {
	switch q {
	case evidence.AskBounce:
		s.askBounce(m)
	case evidence.AskDMARC:
		s.authenticate(m)
		if s.c.DMARC.Result == evidence.NotChecked {
			s.c.DMARC = evidence.DMARC{Result: evidence.TempError, Detail: "nobody can be asked"}
		}
	}
	s.c.Message.Size = m.size()
	if m.err != nil {
		s.fault(m.err)
	}
}

// gone ends a message that cannot be had: its sender went away, or there is no room here.
func (s *Session) gone(m *holding) (verdict.Verdict, bool) {
	if m.err == nil {
		return verdict.Verdict{}, false
	}
	s.fault(m.err)
	switch {
	case s.c.Message.Fault != evidence.NoFault || s.c.Message.TooBig:
		return verdict.Verdict{}, false
	case m.ours:
		s.abort()
		s.c.Final = evidence.Answer{} // it was not asked
		s.e.Logger.Error(m.err.Error(), "id", s.id.String(), "octets", s.c.Message.Size)
		return s.Internal(), true
	}
	return s.lost(m.err), true
}

// abort lets the downstream forget the transaction, where there is one.
func (s *Session) abort() {
	if s.tx != nil {
		s.tx.Abort()
	}
}

// strayField is the field that the first line of a message belongs to which begins with a blank. Else it would go on
// with our Received field, and say there what it likes.
const strayField = "Backstop-Stray: the message begins with\r\n"

// handOn gives the message to the downstream, with our fields before its own.
func (s *Session) handOn(m *holding) {
	var pre []byte
	if m.err == nil {
		pre = s.edit(s.received(), m, nil)
	}
	if m.err != nil { // found while it was held: the downstream has nothing of it, and gone says what becomes of it
		if s.fault(m.err); s.c.Message.Fault == evidence.NoFault && !s.c.Message.TooBig {
			s.c.Final = evidence.Answer{Outcome: evidence.OutcomeUnreachable, Step: evidence.StepMessage} // ask no more
		}
		return
	}
	if m.late {
		s.tx.Kept()
	}
	if m.continues() {
		pre = append(pre, strayField...)
	}
	s.c.Final = s.tx.Data(s.ctx, pre, m.reader())
	s.c.Message.Size = m.size()
	if m.err != nil {
		s.fault(m.err)
	}
}

// lost is a message whose sender went away or gave up: nobody hears the reply,
// nothing was decided, and the operator who looks for the mail finds why it is not there.
func (s *Session) lost(err error) verdict.Verdict {
	s.abort()
	s.e.Logger.Info("the message was not finished by its sender", "id", s.id.String(), "client", clientText(s.c.Client.Addr),
		"from", s.c.From.String(), "recipients", len(s.rcpts), "octets", s.c.Message.Size, "error", err.Error())
	return s.finish(verdict.Internal())
}

// clientText is a client's address, "" where none is known.
func clientText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

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
