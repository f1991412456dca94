package mailtest

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Stage is where a dialogue is played.
type Stage struct {
	Addr string // the server that is spoken to: the peer itself, or the gateway in front of it
	Mock *Mock  // the downstream, when it is a mock: it can be scripted and is compared after every step

	// Held returns all messages that the downstream holds, once it has come to
	// rest and holds at least so many (or Patience is at an end). Needed without Mock.
	Held func(t testing.TB, atLeast int) []Message

	// Shaken plays under faults: a reply other than the expected one ends the
	// dialogue in peace, unless it is a 5xx (a fault must never be permanent).
	// What the downstream holds is not compared with the file's held lines then, but the invariant stands.
	Shaken bool

	// Clean fails the test when the mock has seen what SMTP forbids: right behind
	// a gateway, which lets nothing of the kind through.
	Clean bool
}

// player carries one dialogue through.
type player struct {
	t      testing.TB
	d      *Dialogue
	stage  Stage
	base   int    // messages that were there before
	script Script // the mock's, before

	talk   *Talk
	source string
	slow   bool
	lmtp   bool
	out    []byte
	due    []due
	sent   []*Sent
	open   *Sent // the transaction that commands belong to
	off    int   // of the generated stream of chunks
	nth    uint64
}

// due is a reply that must come: to a verb, perhaps about a message.
type due struct {
	verb string
	sent *Sent
	rcpt string
}

// errShaken ends a dialogue that was played under faults.
var errShaken = errors.New("the fault has shown")

// Play plays the dialogue; the test fails with file and line of the first
// step that goes otherwise, and wherever CheckOwned finds something.
func (d *Dialogue) Play(t testing.TB, stage Stage) {
	t.Helper()
	if stage.Held == nil {
		m := stage.Mock
		stage.Held = func(t testing.TB, n int) []Message {
			if !stage.Shaken {
				m.Wait(t, fmt.Sprintf("%d messages", n), func(m *Mock) bool { return countKept(m.Messages()) >= n })
			}
			return m.Messages()
		}
	}
	p := &player{t: t, d: d, stage: stage}
	if stage.Mock != nil {
		stage.Mock.Forget()
		p.script, _ = stage.Mock.now()
		defer func() { stage.Mock.Up(); stage.Mock.Set(p.script) }()
	}
	defer func() {
		if p.talk != nil {
			p.talk.Close()
		}
	}()
	p.base = len(stage.Held(t, 0))
	for _, s := range d.steps {
		if err := s.do(p); errors.Is(err, errShaken) {
			break
		} else if err != nil {
			t.Fatalf("%s, line %d: %s\n\t%v%s", d.Name, s.line, s.text, err, p.wires())
		}
		if stage.Mock != nil {
			p.checkOwned(stage.Mock.Messages(), s)
		}
	}
	if err := p.flush(); err != nil && !stage.Shaken {
		t.Fatalf("%s, at its end: %v", d.Name, err)
	}
	n := 0
	for _, s := range p.sent {
		if s.taken() {
			n++
		}
	}
	p.checkOwned(stage.Held(t, p.base+n), step{text: "the end"})
	if stage.Clean && stage.Mock != nil && stage.Mock.Faults() != nil {
		t.Errorf("%s: the downstream was sent what SMTP forbids: %q", d.Name, stage.Mock.Faults())
	}
}

func countKept(ms []Message) int {
	n := 0
	for _, m := range ms {
		if m.Kept {
			n++
		}
	}
	return n
}

// wires is what went over the downstream's wire, for the message of a failed step.
func (p *player) wires() string {
	if p.stage.Mock == nil {
		return ""
	}
	return fmt.Sprintf("\n\tthe downstream was asked %q", p.stage.Mock.Commands())
}

func (p *player) checkOwned(held []Message, s step) {
	p.t.Helper()
	var sent []Sent
	for _, x := range p.sent {
		sent = append(sent, *x)
	}
	wrong := Owned(sent, held[min(p.base, len(held)):])
	for _, w := range wrong {
		p.t.Errorf("%s, line %d: %s\n\ta message has no owner: %s", p.d.Name, s.line, s.text, w)
	}
	if wrong != nil {
		p.t.FailNow()
	}
}

// seed gives every message of a dialogue a text of its own.
func (p *player) seed() uint64 {
	p.nth++
	h := fnv.New64a()
	io.WriteString(h, p.d.Name)
	return h.Sum64() + p.nth
}

func (p *player) connect() error {
	if err := p.hangUp((*Talk).Close); err != nil {
		return err
	}
	k, err := dialFrom(p.stage.Addr, p.source)
	if err != nil {
		return p.lost(err)
	}
	p.talk = k
	return nil
}

func (p *player) hangUp(how func(*Talk) error) error {
	err := p.flush()
	if p.talk != nil {
		how(p.talk)
	}
	p.talk, p.open, p.due = nil, nil, nil
	return err
}

// lost turns the loss of a connection into the end of a shaken dialogue.
func (p *player) lost(err error) error {
	var ne net.Error
	if err != nil && p.stage.Shaken && !(errors.As(err, &ne) && ne.Timeout()) {
		return errShaken
	}
	return err
}

// flush sends what was gathered.
func (p *player) flush() error {
	if len(p.out) == 0 {
		return nil
	}
	if p.talk == nil {
		if err := p.begin(); err != nil {
			return err
		}
	}
	out := p.out
	p.out = nil
	if !p.slow {
		return p.lost(p.talk.Send(string(out)))
	}
	for _, b := range out {
		if err := p.talk.Send(string([]byte{b})); err != nil {
			return p.lost(err)
		}
	}
	return nil
}

func (p *player) sayLine(line string) error {
	p.out = append(append(p.out, line...), "\r\n"...)
	verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
	d := due{verb: verb}
	switch verb {
	case "MAIL":
		if p.open == nil {
			from, _ := path(line, "FROM:")
			p.open = &Sent{From: from.Path, Known: true}
			p.sent = append(p.sent, p.open)
			d.sent = p.open
		}
	case "RCPT":
		to, _ := path(line, "TO:")
		d.sent, d.rcpt = p.open, to.Path
		if p.open != nil {
			p.open.Due = append(p.open.Due, to.Path)
		}
	case "EHLO", "HELO", "LHLO", "RSET", "QUIT":
		p.open = nil
		p.lmtp = p.lmtp || verb == "LHLO"
	}
	p.due = append(p.due, d)
	return nil
}

func (p *player) sayContent(line string) error {
	p.content([]byte(line + "\r\n"))
	return nil
}

func (p *player) content(b []byte) {
	if p.open != nil {
		p.open.Body = append(p.open.Body, b...)
	}
	p.out = append(p.out, stuff(b)...)
}

func (p *player) sayEnd() error {
	p.out = append(p.out, ".\r\n"...)
	p.ended("the message")
	return nil
}

func (p *player) sayMessage(m []byte) error {
	p.content(m)
	if !bytes.HasSuffix(m, []byte("\r\n")) {
		p.content([]byte("\r\n"))
	}
	return p.sayEnd()
}

// ended notes that the end of the open message is on its way.
func (p *player) ended(verb string) {
	n := 1
	if p.open != nil {
		p.open.Ended = true
		if p.lmtp {
			n = len(p.open.To) // RFC 2033, 4.2
		}
	}
	for range n {
		p.due = append(p.due, due{verb: verb, sent: p.open})
	}
	p.open = nil
}

// stream returns the next octets of an endless body, which end in CRLF.
func (p *player) stream(n int) []byte {
	if n == 0 {
		return nil
	}
	if p.off == 0 {
		p.nth++
	}
	b := bytes.Clone(Generate(p.nth, p.off+n+64, EightBit)[p.off:][:n])
	if b[0] == '\n' {
		b[0] = 'x'
	}
	copy(b[n-2:], "\r\n")
	if b[n-3] == '\r' {
		b[n-3] = 'x'
	}
	p.off += n
	return b
}

func (p *player) sayChunk(size int, octets []byte, last bool) error {
	p.out = append(p.out, "BDAT "+strconv.Itoa(size)...)
	if last {
		p.out = append(p.out, " LAST"...)
	}
	p.out = append(append(p.out, "\r\n"...), octets...)
	if p.open != nil {
		p.open.Body = append(p.open.Body, octets...)
		p.open.Known = p.open.Known && size == len(octets)
	}
	if last {
		p.off = 0
		p.ended("BDAT LAST")
		return nil
	}
	p.due = append(p.due, due{verb: "BDAT"})
	return nil
}

func (p *player) sayRaw(octets string) error {
	p.out = append(p.out, octets...)
	if p.open != nil {
		p.open.Known = false
	}
	return nil
}

func (p *player) sayRawEnd(octets string) error {
	p.sayRaw(octets)
	p.ended("the message")
	return nil
}

// expect sends what is gathered and reads one reply.
func (p *player) expect(w want, text string) error {
	if err := p.flush(); err != nil {
		return err
	}
	if p.talk == nil {
		if err := p.begin(); err != nil {
			return err
		}
	}
	r, err := p.talk.Reply()
	if err != nil {
		return p.lost(fmt.Errorf("%w instead of a reply", err))
	}
	d := p.account(r)
	if w.fits(r) {
		return nil
	}
	if !p.stage.Shaken {
		return fmt.Errorf("the server says: %s", r)
	}
	if r.Code/100 == 5 && w.class() != '5' && !p.nobodyLeft(d) {
		return fmt.Errorf("a fault became permanent, %s said: %s", orElse(d.verb, "the server"), r)
	}
	return errShaken
}

// nobodyLeft says whether a 5xx to DATA only tells that no recipient was
// accepted, which is right when all were put off (RFC 5321, 3.3).
func (p *player) nobodyLeft(d due) bool {
	return (d.verb == "DATA" || strings.Contains(d.verb, "BDAT")) && (p.open == nil || len(p.open.To) == 0)
}

// account notes what a reply means for the message it is about.
func (p *player) account(r Reply) due {
	if len(p.due) == 0 {
		return due{} // the banner, or a farewell
	}
	d := p.due[0]
	p.due = p.due[1:]
	switch {
	case d.sent == nil:
	case d.verb == "MAIL" && r.Code/100 != 2 && p.open == d.sent:
		p.open = nil
	case d.verb == "RCPT":
		d.sent.Due = d.sent.Due[1:]
		if r.Code/100 == 2 {
			d.sent.To = append(d.sent.To, d.rcpt)
		}
	case d.verb == "the message", d.verb == "BDAT LAST":
		d.sent.Codes = append(d.sent.Codes, r.Code)
	}
	return d
}

func (p *player) waitClose() error {
	if err := p.flush(); err != nil && !errors.Is(err, errShaken) && p.talk == nil {
		return err
	}
	for p.talk != nil {
		r, err := p.talk.Reply()
		if err == nil {
			p.account(r)
			continue
		}
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("the server keeps the connection open")
		}
		break
	}
	return p.hangUp((*Talk).Close)
}

// begin opens the first connection.
func (p *player) begin() error {
	out, due, open := p.out, p.due, p.open
	p.out = nil
	err := p.connect()
	p.out, p.due, p.open = out, due, open
	return err
}

func (p *player) heldNow(n int) []Message {
	all := p.stage.Held(p.t, p.base+n)
	var out []Message
	for _, m := range all[min(p.base, len(all)):] {
		if m.Kept {
			out = append(out, m)
		}
	}
	return out
}

func (p *player) held(n int) error {
	if err := p.flush(); err != nil || p.stage.Shaken {
		return err
	}
	got := p.heldNow(n)
	if len(got) != n {
		return fmt.Errorf("the downstream holds %d: %v", len(got), got)
	}
	return nil
}

func (p *player) heldSome(what string, fits func(Message) bool) error {
	if p.stage.Shaken {
		return nil
	}
	got := p.heldNow(0)
	if !slices.ContainsFunc(got, fits) {
		return fmt.Errorf("no message is held %s: %v", what, got)
	}
	return nil
}

func (p *player) heldTo(to []string) error {
	return p.heldSome("for exactly these", func(m Message) bool {
		w := slices.Clone(to)
		return subtract(&w, m.To) && len(w) == 0
	})
}

func (p *player) heldFrom(from string) error {
	return p.heldSome("from this sender", func(m Message) bool { return m.From == from })
}

func (p *player) heldText(text string, wanted bool) error {
	has := func(m Message) bool { return bytes.Contains(m.Body, []byte(text)) }
	if wanted {
		return p.heldSome("with this text", has)
	}
	if !p.stage.Shaken && slices.ContainsFunc(p.heldNow(0), has) {
		return errors.New("a held message has this text")
	}
	return nil
}

func (p *player) asked(re *regexp.Regexp) error {
	if p.stage.Shaken {
		return nil
	}
	p.stage.Mock.Wait(p.t, "a command like "+re.String(), func(m *Mock) bool {
		return slices.ContainsFunc(m.Commands(), re.MatchString)
	})
	return nil
}

func (p *player) neverAsked(re *regexp.Regexp) error {
	if i := slices.IndexFunc(p.stage.Mock.Commands(), re.MatchString); i >= 0 {
		return fmt.Errorf("the downstream was asked %q", p.stage.Mock.Commands()[i])
	}
	return nil
}
