package milter

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"
)

// skip is Continue without the rest of the body (SMFIR_SKIP).
const skip Action = 0xff

// answer sends a response, if the MTA waits for one.
func (c *Conn) answer(r Response) error {
	if !c.owed {
		return nil
	}
	c.owed = false
	if r.Action == Reply && (r.Reply.Permanent() || r.Reply.Temporary()) {
		out := writeBuffers.Get().(*[]byte)
		defer writeBuffers.Put(out)
		*out = appendReply((*out)[:0], r)
		return c.write(*out)
	}
	return c.say(r.Action.word())
}

// final answers for a message, with its changes where its end has come.
func (c *Conn) final(r Response, end bool) error {
	if !end || r.Changes == nil || r.Action != Continue && r.Action != Accept {
		return c.answer(r)
	}
	c.owed = false
	out := writeBuffers.Get().(*[]byte)
	defer writeBuffers.Put(out)
	b := c.appendChanges((*out)[:0], r.Changes)
	b = appendPacket(b, r.Action.word())
	if cap(b) <= 16*1024 {
		*out = b
	}
	return c.write(b)
}

func (a Action) word() byte {
	switch a {
	case Continue:
		return ansContinue
	case Accept:
		return ansAccept
	case Reject:
		return ansReject
	case Discard:
		return ansDiscard
	case skip:
		return ansSkip
	}
	return ansTempFail // also what is no refusal though it was meant as one
}

// appendReply writes SMFIR_REPLYCODE: the lines as in SMTP, without the last CRLF. A "%" is doubled, for Sendmail takes
// the text for a format of printf; Postfix undoes it.
func appendReply(b []byte, r Response) []byte {
	b, at := begin(b, ansReply)
	text := r.Reply.AppendWire(nil)
	for _, o := range text[:len(text)-2] {
		if o == '%' {
			b = append(b, '%')
		}
		b = append(b, o)
	}
	return end(append(b, 0), at)
}

// say sends an answer of one word.
func (c *Conn) say(word byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.word = [5]byte{0, 0, 0, 1, word}
	return c.writeLocked(c.word[:])
}

func (c *Conn) write(b []byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.writeLocked(b)
}

func (c *Conn) writeLocked(b []byte) error {
	if now := time.Now(); c.armedW.Sub(now) < writeTimeout/2 {
		c.armedW = now.Add(writeTimeout)
		c.nc.SetWriteDeadline(c.armedW)
	}
	_, err := c.nc.Write(b)
	return err
}

// startProgress keeps the MTA waiting (SMFIR_PROGRESS) until stopProgress.
func (c *Conn) startProgress() {
	every := c.cfg.Progress
	if every <= 0 {
		every = defaultProgress
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	var t *time.Timer
	t = time.AfterFunc(every, func() {
		c.wmu.Lock()
		defer c.wmu.Unlock()
		if c.timer != t {
			return // it was stopped a moment ago: behind the answer nothing may follow
		}
		c.word = [5]byte{0, 0, 0, 1, ansProgress}
		if c.writeLocked(c.word[:]) == nil {
			t.Reset(every)
		}
	})
	c.timer = t
}

func (c *Conn) stopProgress() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (c *Conn) progress() error { return c.say(ansProgress) }

// appendChanges writes the changes that were granted.
func (c *Conn) appendChanges(b []byte, ch *Changes) []byte {
	if ch.From != nil && c.Can(ChangeFrom) {
		b = appendPath(b, ansChangeFrom, ch.From.Address, ch.From.Args)
	}
	if c.Can(DeleteRcpt) {
		for _, r := range ch.DeleteRcpt {
			b = appendPath(b, ansDelRcpt, r, "")
		}
	}
	for _, r := range ch.AddRcpt {
		switch {
		case r.Args != "" && c.Can(AddRcptArgs):
			b = appendPath(b, ansAddRcptPar, r.Address, r.Args)
		case c.Can(AddRcpt):
			b = appendPath(b, ansAddRcpt, r.Address, "")
		}
	}
	b = c.appendFields(b, ch)
	if ch.Quarantine != "" && c.Can(Quarantine) {
		var at int
		b, at = begin(b, ansQuarantine)
		b = end(append(appendClean(b, ch.Quarantine), 0), at)
	}
	return b
}

func (c *Conn) appendFields(b []byte, ch *Changes) []byte {
	if c.Can(ChangeHeader) {
		edits := slices.Clone(ch.Edit)
		slices.SortStableFunc(edits, func(x, y HeaderEdit) int { return cmp.Compare(y.Nth, x.Nth) })
		for _, e := range edits {
			value := e.Value
			if e.Delete {
				value = "" // which deletes
			} else if value == "" {
				value = "  " // which does not
			}
			b = c.appendField(b, ansChgHeader, e.Nth, e.Name, value)
		}
	}
	if c.Can(AddHeader) {
		for _, f := range slices.Backward(ch.Insert) {
			b = c.appendField(b, ansInsHeader, 0, f.Name, f.Value)
		}
		for _, f := range ch.Add {
			b = c.appendField(b, ansAddHeader, -1, f.Name, f.Value)
		}
	}
	return b
}

// appendField writes one change of a header field; index -1 is none. The MTA puts a blank behind the
// colon unless HeaderLeadSpace was granted, so that one of ours is taken away.
func (c *Conn) appendField(b []byte, command byte, index int, name, value string) []byte {
	b, at := begin(b, command)
	if index >= 0 {
		b = binary.BigEndian.AppendUint32(b, uint32(index))
	}
	b = append(appendClean(b, name), 0)
	if value != "" && value[0] == ' ' && !c.Does(HeaderLeadSpace) {
		value = value[1:]
	}
	for i := 0; i < len(value); i++ {
		switch o := value[i]; {
		case o == 0 || o == '\r': // lines end with LF alone here
		case o == '\n' && (i+1 == len(value) || value[i+1] != ' ' && value[i+1] != '\t'):
			b = append(b, "\n\t"...) // nobody begins a field of his own in the value of another
		default:
			b = append(b, o)
		}
	}
	return end(append(b, 0), at)
}

// appendPath writes an address in angle brackets, and ESMTP arguments if there are any.
func appendPath(b []byte, command byte, address, args string) []byte {
	b, at := begin(b, command)
	b = append(appendClean(append(b, '<'), address), '>', 0)
	if args != "" {
		b = append(appendClean(b, args), 0)
	}
	return end(b, at)
}

// appendClean leaves out what would end the string or the line.
func appendClean(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] >= ' ' || s[i] == '\t' {
			b = append(b, s[i])
		}
	}
	return b
}
