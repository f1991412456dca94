package milter

import (
	"encoding/binary"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Offer is what an MTA offers in the negotiation. The zero values stand for version 6 and all that it has.
type Offer struct {
	Version uint32
	Actions ActionMask
	Steps   StepMask
	Timeout time.Duration // of each answer; 0: 30 s. Progress begins it anew
}

// MTA is the other end: it plays a mail server to a filter. It sends what was agreed upon and nothing
// else: an event that the filter does not want is not sent, and one that it does not answer is
// not waited for; both give Continue. Its methods are for one goroutine.
type MTA struct {
	nc      net.Conn
	in      packets
	timeout time.Duration
	version uint32
	actions ActionMask
	steps   StepMask
	symbols map[Stage]string
	out     []byte // macros, which travel with their command
	skipped bool
}

// Answer is what the filter said to an event.
type Answer struct {
	Action   Action   // Reply where Text says what; Shutdown and a failed connection are TempFail
	Text     string   // with Reply: "550 5.1.1 No such user", lines divided by CRLF, as the MTA would show it
	Skip     bool     // the rest of the body is not wanted
	Progress int      // how often it asked to wait
	Changes  []Change // at the end of the message, in the order in which they came
}

// Code is the reply code of Text, 0 without one.
func (a Answer) Code() int {
	n, err := strconv.Atoi(a.Text[:min(3, len(a.Text))])
	if err != nil {
		return 0
	}
	return n
}

// Change is one change to a message, as it was on the wire.
type Change struct {
	Kind  byte   // SMFIR_*: 'e' sender, '+' and '2' recipient more, '-' recipient less, 'h' field added, 'i' inserted, 'm' changed, 'b' body, 'q' quarantine
	Index uint32 // of 'i' and 'm'
	Name  string // of a field; or the address, or the reason, or the octets of the body
	Value string // of a field; or the ESMTP arguments
}

const mtaTimeout = 30 * time.Second

// NewMTA negotiates on nc, which is closed when that fails.
func NewMTA(nc net.Conn, o Offer) (*MTA, error) {
	if o.Version == 0 {
		o.Version = MaxVersion
	}
	if o.Actions == 0 {
		o.Actions = allActions
	}
	if o.Steps == 0 {
		o.Steps = allSteps
	}
	if o.Timeout <= 0 {
		o.Timeout = mtaTimeout
	}
	t := &MTA{nc: nc, timeout: o.Timeout}
	t.in = packets{nc: nc, wait: t.wait}
	t.in.init()
	if err := t.negotiate(o); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *MTA) wait() error { return t.nc.SetReadDeadline(time.Now().Add(t.timeout)) }

func (t *MTA) negotiate(o Offer) error {
	b, at := begin(nil, cmdNegotiate)
	b = binary.BigEndian.AppendUint32(b, o.Version)
	b = binary.BigEndian.AppendUint32(b, uint32(o.Actions))
	t.out = end(binary.BigEndian.AppendUint32(b, uint32(o.Steps)), at)
	if err := t.flush(); err != nil {
		return err
	}
	command, data, err := t.in.next()
	switch {
	case err != nil:
		return err
	case command != cmdNegotiate || len(data) < 12:
		return broken("%q with %d octets for a negotiation", command, len(data))
	}
	t.version = binary.BigEndian.Uint32(data)
	t.actions = ActionMask(binary.BigEndian.Uint32(data[4:]))
	t.steps = StepMask(binary.BigEndian.Uint32(data[8:]))
	switch {
	case t.version < MinVersion || t.version > o.Version:
		return broken("version %d where %d was offered", t.version, o.Version)
	case t.actions&^o.Actions != 0:
		return broken("actions %#x where %#x were offered", t.actions, o.Actions)
	case t.steps&^o.Steps != 0:
		return broken("steps %#x where %#x were offered", t.steps, o.Steps)
	}
	return t.takeSymbols(data[12:])
}

// takeSymbols reads which macros the filter asks for.
func (t *MTA) takeSymbols(data []byte) error {
	t.symbols = map[Stage]string{}
	for len(data) > 0 {
		if len(data) < 4 {
			return broken("a stage cut short")
		}
		stage := Stage(binary.BigEndian.Uint32(data))
		names, rest, err := takeString(data[4:])
		if err != nil {
			return err
		}
		if stage > StageEOH {
			return broken("macros for stage %d", stage)
		}
		t.symbols[stage] = string(names)
		data = rest
	}
	if len(t.symbols) > 0 && t.actions&SetMacros == 0 {
		return broken("macros asked for where that was not granted")
	}
	return nil
}

// Version is the version that was agreed upon.
func (t *MTA) Version() uint32 { return t.version }

// Actions is what the filter may do.
func (t *MTA) Actions() ActionMask { return t.actions }

// Steps is what was agreed upon.
func (t *MTA) Steps() StepMask { return t.steps }

// Symbols is which macros the filter asked for, by stage.
func (t *MTA) Symbols() map[Stage]string { return t.symbols }

// Close hangs up.
func (t *MTA) Close() error {
	t.in.free()
	return t.nc.Close()
}

// Macros are sent before the next event of stage: name, value, name, value. Those that the filter did not ask
// for are left out, if it asked for any of that stage.
func (t *MTA) Macros(stage Stage, pairs ...string) {
	command := [...]byte{cmdConnect, cmdHelo, cmdMail, cmdRcpt, cmdData, cmdEOB, cmdEOH}[stage]
	b, at := begin(t.out, cmdMacro)
	b = append(b, command)
	names, some := t.symbols[stage]
	for i := 0; i+1 < len(pairs); i += 2 {
		if !some || slices.Contains(strings.Fields(names), pairs[i]) {
			b = append(append(b, pairs[i]...), 0)
			b = append(append(b, pairs[i+1]...), 0)
		}
	}
	t.out = end(b, at)
}

// Connect begins a client's connection.
func (t *MTA) Connect(c Client) (Answer, error) {
	b := append([]byte(c.Name), 0, c.Family)
	if c.Family != 'U' {
		b = binary.BigEndian.AppendUint16(b, c.Port)
		addr := c.Path
		if c.Family != 'L' {
			addr = c.Addr.String()
		}
		b = append(append(b, addr...), 0)
	}
	return t.event(cmdConnect, NoConnect, NRConnect, b)
}

// Helo is the client's HELO or EHLO.
func (t *MTA) Helo(name string) (Answer, error) {
	return t.event(cmdHelo, NoHelo, NRHelo, str(name))
}

// Mail is the client's MAIL; from is without angle brackets.
func (t *MTA) Mail(from string, args ...string) (Answer, error) {
	return t.event(cmdMail, NoMail, NRMail, str("<"+from+">", args...))
}

// Rcpt is the client's RCPT; to is without angle brackets.
func (t *MTA) Rcpt(to string, args ...string) (Answer, error) {
	return t.event(cmdRcpt, NoRcpt, NRRcpt, str("<"+to+">", args...))
}

// Data is the client's DATA. Before version 4 there is no such event.
func (t *MTA) Data() (Answer, error) {
	if t.version < 4 {
		return Answer{}, nil
	}
	return t.event(cmdData, NoData, NRData, nil)
}

// Unknown is a command that the MTA does not know. Before version 3 there is no such event.
func (t *MTA) Unknown(command string) (Answer, error) {
	if t.version < 3 {
		return Answer{}, nil
	}
	return t.event(cmdUnknown, NoUnknown, NRUnknown, str(command))
}

// Header is one field. Value is what stands behind the colon, folds as LF and a blank; its first blank is
// taken away unless the filter wants it.
func (t *MTA) Header(name, value string) (Answer, error) {
	if t.steps&HeaderLeadSpace == 0 {
		value = strings.TrimPrefix(value, " ")
	}
	return t.event(cmdHeader, NoHeader, NRHeader, str(name, value))
}

// EOH is the end of the header.
func (t *MTA) EOH() (Answer, error) { return t.event(cmdEOH, NoEOH, NREOH, nil) }

// Body is the next part of the body, in as many packets as it needs; the first answer that is not Continue
// is the last. Once the filter skips the rest nothing is sent any more.
func (t *MTA) Body(b []byte) (Answer, error) {
	for len(b) > 0 && !t.skipped {
		n := min(len(b), maxData)
		a, err := t.event(cmdBody, NoBody, NRBody, b[:n])
		t.skipped = a.Skip
		if err != nil || a.Action != Continue {
			return a, err
		}
		b = b[n:]
	}
	return Answer{Skip: t.skipped}, nil
}

// EndOfBody is the end of the message. The answer has the filter's changes.
func (t *MTA) EndOfBody() (Answer, error) {
	t.skipped = false
	return t.event(cmdEOB, 0, 0, nil)
}

// Abort ends the transaction.
func (t *MTA) Abort() error { t.skipped = false; return t.post(cmdAbort, nil) }

// Quit ends the connection, and closes it.
func (t *MTA) Quit() error {
	err := t.post(cmdQuit, nil)
	t.Close()
	return err
}

// QuitNC ends the client's connection; the next event is Connect.
func (t *MTA) QuitNC() error { t.skipped = false; return t.post(cmdQuitNC, nil) }

// Raw sends a packet as it is, with the macros before it, and waits for nothing.
func (t *MTA) Raw(command byte, data []byte) error { return t.post(command, data) }

func str(s string, more ...string) []byte {
	b := append([]byte(s), 0)
	for _, s := range more {
		b = append(append(b, s...), 0)
	}
	return b
}

// post sends a command that has no answer.
func (t *MTA) post(command byte, data []byte) error {
	b, at := begin(t.out, command)
	t.out = end(append(b, data...), at)
	return t.flush()
}

func (t *MTA) flush() error {
	t.nc.SetWriteDeadline(time.Now().Add(t.timeout))
	_, err := t.nc.Write(t.out)
	t.out = t.out[:0]
	return err
}

func (t *MTA) event(command byte, not, noReply StepMask, data []byte) (Answer, error) {
	if t.steps&not != 0 {
		t.out = t.out[:0]
		return Answer{}, nil
	}
	if err := t.post(command, data); err != nil || t.steps&noReply != 0 {
		return Answer{}, err
	}
	return t.Answer(command)
}

// Answer reads the answer to a command that was sent with Raw, as the other methods do by themselves.
func (t *MTA) Answer(command byte) (Answer, error) {
	var a Answer
	for {
		answer, data, err := t.in.next()
		if err != nil {
			return a, err
		}
		if done, err := t.takeAnswer(&a, command, answer, data); done || err != nil {
			return a, err
		}
	}
}

// takeAnswer takes one packet of the filter. Changes and progress belong to the end of the message, skip to the body.
func (t *MTA) takeAnswer(a *Answer, command, answer byte, data []byte) (done bool, err error) {
	switch answer {
	case ansContinue:
		return true, nil
	case ansAccept:
		a.Action = Accept
		return true, nil
	case ansReject:
		a.Action = Reject
		return true, nil
	case ansTempFail, ansShutdown, ansConnFail:
		a.Action = TempFail
		return true, nil
	case ansDiscard:
		a.Action = Discard
		return true, nil
	case ansReply:
		a.Action = Reply
		a.Text, err = takeReply(data)
		return true, err
	case ansSkip:
		if command != cmdBody || t.steps&Skip == 0 {
			return true, broken("a skip where there is nothing to skip")
		}
		a.Skip = true
		return true, nil
	}
	if command != cmdEOB {
		return true, broken("%q in answer to %q", answer, command)
	}
	if answer == ansProgress {
		a.Progress++
		return false, nil
	}
	ch, err := t.takeChange(answer, data)
	a.Changes = append(a.Changes, ch)
	return false, err
}

// takeReply checks a reply as an MTA would before it shows it.
func takeReply(data []byte) (string, error) {
	text, err := takeOne(data)
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) < 4 || line[0] != '4' && line[0] != '5' || line[:3] != text[:3] || line[3] != ' ' && line[3] != '-' {
			return "", broken("the reply line %q", line)
		}
		if _, err := strconv.ParseUint(line[:3], 10, 16); err != nil {
			return "", broken("the reply line %q", line)
		}
	}
	if strings.Contains(strings.ReplaceAll(text, "%%", ""), "%") {
		return "", broken("a %% that is not doubled in %q", text)
	}
	return strings.ReplaceAll(text, "%%", "%"), nil
}

// takeChange reads one change, and whether it was granted.
func (t *MTA) takeChange(kind byte, data []byte) (Change, error) {
	ch := Change{Kind: kind}
	var need ActionMask
	least, most := 1, 1
	switch kind {
	case ansAddRcpt:
		need = AddRcpt
	case ansAddRcptPar:
		need, most = AddRcptArgs, 2
	case ansDelRcpt:
		need = DeleteRcpt
	case ansChangeFrom:
		need, most = ChangeFrom, 2
	case ansQuarantine:
		need = Quarantine
	case ansAddHeader:
		need, least, most = AddHeader, 2, 2
	case ansInsHeader:
		need, least, most = AddHeader, 2, 2
	case ansChgHeader:
		need, least, most = ChangeHeader, 2, 2
	case ansBody:
		need = ChangeBody
	default:
		return ch, broken("the answer %q", kind)
	}
	if t.actions&need == 0 {
		return ch, broken("a change %q, which was not granted", kind)
	}
	if kind == ansBody {
		ch.Name = string(data)
		return ch, nil
	}
	if kind == ansInsHeader || kind == ansChgHeader {
		if len(data) < 4 {
			return ch, broken("an index cut short")
		}
		ch.Index, data = binary.BigEndian.Uint32(data), data[4:]
	}
	list, err := takeStrings(data)
	if err == nil && (len(list) < least || len(list) > most) {
		err = broken("a change %q of %d strings", kind, len(list))
	}
	if err != nil {
		return ch, err
	}
	ch.Name = list[0]
	if len(list) > 1 {
		ch.Value = list[1]
	}
	return ch, nil
}
