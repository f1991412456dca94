package smtp_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"backstop/internal/mail"
)

// This is a second reader of a client's half of a conversation, written for being
// obviously right: it has the whole input in one string, searches instead of keeping states,
// and takes the server's word only for whether a command was accepted.

// limits are the ones of the conversations that are followed.
type limits struct {
	bare, binary, tls, xclient bool
	line, text, size           int
	errors, commands, rcpts    int
	stop                       int // the handler gives a message up after so many octets; 0: never
}

// grammar is what the reference makes of the data of one message.
type grammar struct {
	text  string // as it is handed on, as far as it goes
	used  int    // octets of the input, the end included
	whole bool
	fault bool
}

// readData reads what follows a 354.
func readData(in string, l limits) grammar {
	s := "\r\n" + in
	body, g := s[2:], grammar{}
	if i := strings.Index(s, "\r\n.\r\n"); i >= 0 {
		body, g.used, g.whole = s[2:i+2], i+3, true
	}
	g.text, g.fault = lines(body, g.whole, true, l)
	return g
}

// lines holds the data to its lines. Where it is not whole, a CR at its end may still become a line end.
func lines(body string, whole, dots bool, l limits) (text string, fault bool) {
	if !whole {
		body = strings.TrimSuffix(body, "\r")
	}
	fault = strings.Contains(body, "\x00")
	one := strings.ReplaceAll(body, "\r\n", "\n")
	if !l.bare {
		rest := strings.ReplaceAll(body, "\r\n", "")
		fault = fault || strings.ContainsAny(rest, "\r\n")
	}
	all := strings.Split(strings.ReplaceAll(one, "\r", "\n"), "\n")
	for i, line := range all {
		if dots && line != "." {
			line = strings.TrimPrefix(line, ".")
		}
		fault = fault || l.text > 0 && len(line)+2 > l.text
		all[i] = line
	}
	return strings.Join(all, "\r\n"), fault
}

// reply is one reply of the server, its lines joined.
type reply struct {
	code int
	text string
}

// readReplies cuts the server's octets into replies, and says what is wrong with them. What
// follows a go-ahead for TLS is none.
func readReplies(out []byte) ([]reply, error) {
	var all []reply
	for len(out) > 0 {
		line, rest, ok := bytes.Cut(out, []byte("\r\n"))
		if !ok || len(line) < 4 || len(line) > 510 || bytes.ContainsAny(line, "\r\n\x00") {
			return nil, fmt.Errorf("no line of a reply: %.600q", line)
		}
		code, err := strconv.Atoi(string(line[:3]))
		if err != nil || code < 200 || code > 599 || line[3] != ' ' && line[3] != '-' {
			return nil, fmt.Errorf("no reply: %q", line)
		}
		if line[3] == ' ' {
			all = append(all, reply{code, string(line[4:])})
			if code == 220 && bytes.Contains(line, []byte("TLS")) {
				return all, nil
			}
		} else if len(rest) == 0 {
			return nil, fmt.Errorf("a reply without its end: %q", line)
		}
		out = rest
	}
	return all, nil
}

// follower walks through a conversation with the replies in hand.
type follower struct {
	limits
	in      string
	replies []reply
	events  []string // what the handler should have heard

	over, mayEnd              bool // no reply follows; or perhaps none
	helo, extended, mail      bool
	binaryMail, bdat, dead    bool
	open                      bool // between the chunks of a message
	chunks                    string
	rcptCount, faults, issued int
	wrong                     string
}

// follow says what a handler should have heard, or what is wrong.
func follow(in string, replies []reply, l limits) (events []string, wrong string) {
	f := &follower{limits: l, in: in, replies: replies}
	if r, ok := f.next(); !ok || r.code != 220 {
		return nil, "no banner"
	}
	for !f.over && f.wrong == "" {
		line, rest, ok := strings.Cut(f.in, "\n")
		if !ok {
			break
		}
		f.in = rest
		f.line(line)
	}
	if f.open {
		f.hear("void")
	}
	if f.wrong == "" && len(f.replies) > 0 {
		f.wrong = fmt.Sprintf("replies to nothing: %v", f.replies)
	}
	return f.events, f.wrong
}

func (f *follower) hear(event string) { f.events = append(f.events, event) }

func (f *follower) fail(format string, args ...any) {
	if f.wrong == "" {
		f.wrong = fmt.Sprintf(format, args...)
	}
}

// next is the next reply.
func (f *follower) next() (reply, bool) {
	if len(f.replies) == 0 {
		f.over = true
		return reply{}, false
	}
	r := f.replies[0]
	f.replies = f.replies[1:]
	return r, true
}

// want is the next reply, which must have one of codes.
func (f *follower) want(what string, codes ...int) int {
	r, ok := f.next()
	if !ok {
		if !f.mayEnd {
			f.fail("no reply to %.80q", what)
		}
		return 0
	}
	if !slices.Contains(codes, r.code) {
		f.fail("the reply to %.80q is %v, want %v", what, r, codes)
	}
	return r.code
}

// last is the reply that ends the connection.
func (f *follower) last(what string, codes ...int) {
	f.want(what, codes...)
	f.over = true
}

// fault is the reply to a protocol error, the last one of them with 421.
func (f *follower) fault(what string, codes ...int) {
	if f.faults++; f.faults > f.limits.errors {
		f.last(what, 421)
		return
	}
	f.want(what, codes...)
}

// line is a command line, without its LF.
func (f *follower) line(line string) {
	cmd, crlf := strings.CutSuffix(line, "\r")
	switch {
	case len(line)+1 > f.limits.line && !crlf && !f.bare:
		f.last(line, 550)
		return
	case len(line)+1 > f.limits.line:
		f.fault(line, 500)
		return
	case !crlf && !f.bare, strings.ContainsAny(cmd, "\r\x00"):
		f.last(line, 550)
		return
	}
	if f.issued++; f.issued > f.commands {
		f.last(line, 421)
		return
	}
	verb, arg, _ := strings.Cut(cmd, " ")
	verb = strings.ToUpper(verb)
	if f.open {
		switch verb {
		case "BDAT", "NOOP":
		case "RSET", "QUIT", "EHLO", "HELO":
			f.hear("void")
			f.reset()
		default:
			f.fault(cmd, 503)
			return
		}
	}
	f.command(cmd, verb, arg)
}

func (f *follower) reset() {
	f.mail, f.binaryMail, f.bdat, f.dead, f.open, f.chunks, f.rcptCount = false, false, false, false, false, "", 0
}

func (f *follower) command(cmd, verb, arg string) {
	switch verb {
	case "EHLO", "HELO":
		name := strings.TrimSpace(arg)
		if name == "" {
			f.fault(cmd, 501)
			return
		}
		f.want(cmd, 250)
		f.reset()
		f.helo, f.extended = true, verb == "EHLO"
		f.hear("helo " + name)
	case "MAIL":
		f.mailFrom(cmd, arg)
	case "RCPT":
		f.rcptTo(cmd, arg)
	case "DATA":
		f.data(cmd, arg)
	case "BDAT":
		f.chunk(cmd, arg)
	case "RSET":
		if arg != "" {
			f.fault(cmd, 501)
			return
		}
		f.want(cmd, 250)
		f.reset()
	case "NOOP":
		f.want(cmd, 250)
	case "VRFY":
		f.want(cmd, 252)
	case "HELP":
		f.want(cmd, 214)
	case "QUIT":
		if arg != "" {
			f.fault(cmd, 501)
			return
		}
		f.last(cmd, 221)
	case "GET", "PUT", "POST", "CONNECT":
		f.last(cmd, 421)
	case "STARTTLS":
		if !f.tls || arg != "" || !f.extended {
			f.fault(cmd, 501, 502, 503)
			return
		}
		f.last(cmd, 220) // what stands behind it in plain text is nobody's
	case "XCLIENT":
		f.xClient(cmd)
	default:
		f.fault(cmd, 500, 502)
	}
}

func (f *follower) xClient(cmd string) {
	if !f.xclient || f.mail || len(f.replies) == 0 || f.replies[0].code != 220 {
		f.fault(cmd, 501, 503, 550)
		return
	}
	f.want(cmd, 220)
	f.helo, f.extended = false, false
}

func (f *follower) mailFrom(cmd, arg string) {
	if len(f.replies) == 0 || f.replies[0].code != 250 {
		f.fault(cmd, 501, 503, 552, 553, 555)
		return
	}
	f.want(cmd, 250)
	if len(arg) < 5 || !strings.EqualFold(arg[:5], "FROM:") || !f.helo || f.mail {
		f.fail("%q was accepted", cmd)
		return
	}
	from, params, err := mail.ParsePath(strings.TrimLeft(arg[5:], " "), true)
	if err != nil {
		f.fail("%q was accepted: %v", cmd, err)
	}
	for param := range strings.FieldsSeq(strings.ToUpper(params)) {
		if body, ok := strings.CutPrefix(param, "BODY="); ok {
			f.binaryMail = body == "BINARYMIME"
		}
	}
	f.mail = true
	f.hear("mail " + from.String())
}

func (f *follower) rcptTo(cmd, arg string) {
	switch {
	case len(f.replies) > 0 && f.replies[0].code == 452 && f.rcptCount >= f.rcpts:
		f.want(cmd, 452)
		return
	case len(f.replies) == 0 || f.replies[0].code != 250:
		f.fault(cmd, 501, 503, 553, 555)
		return
	}
	f.want(cmd, 250)
	if len(arg) < 3 || !strings.EqualFold(arg[:3], "TO:") || !f.mail || f.bdat || f.rcptCount >= f.rcpts {
		f.fail("%q was accepted", cmd)
		return
	}
	to, _, err := mail.ParsePath(strings.TrimLeft(arg[3:], " "), true)
	if err != nil || to.IsZero() {
		f.fail("%q was accepted: %v", cmd, err)
	}
	f.rcptCount++
	f.hear("rcpt " + to.String())
}

func (f *follower) data(cmd, arg string) {
	switch {
	case arg != "":
		f.fault(cmd, 501)
		return
	case !f.mail || f.bdat || f.binaryMail:
		f.fault(cmd, 503)
		return
	case f.rcptCount == 0:
		f.want(cmd, 554)
		return
	}
	f.want(cmd, 354)
	g := readData(f.in, f.limits)
	if f.limits.size > 0 && len(g.text) > f.limits.size-8 && (!g.whole || g.fault || len(g.text) > f.limits.size) {
		f.broken(g.whole || g.fault) // which of the faults comes first does not matter
		return
	}
	switch {
	case g.fault:
		f.broken(true)
	case !g.whole:
		f.broken(false)
	default:
		f.in = f.in[g.used:]
		f.taken(g.text)
	}
}

// broken is the end of a message that is none, with a last reply or, when the client went away, perhaps without.
func (f *follower) broken(answered bool) {
	f.open, f.over = false, true
	f.hear("void")
	if answered || len(f.replies) > 0 {
		f.want("the message", 451, 550, 552)
	}
}

// taken is a message that was read to its end.
func (f *follower) taken(text string) {
	if f.stop > 0 && len(text) >= f.stop {
		f.want("the message", 451)
		f.hear("void")
	} else {
		f.want("the message", 250)
		f.hear("message " + text)
	}
	f.reset()
}

// chunk is BDAT.
func (f *follower) chunk(cmd, arg string) {
	word, rest, _ := strings.Cut(arg, " ")
	size, err := strconv.ParseUint(word, 10, 63)
	last := strings.EqualFold(strings.TrimSpace(rest), "LAST")
	if err != nil || word[0] == '+' || len(word) > 18 || !last && strings.TrimSpace(rest) != "" {
		f.last(cmd, 501)
		return
	}
	whole := size <= uint64(len(f.in))
	payload := f.in[:min(size, uint64(len(f.in)))]
	f.in = f.in[len(payload):]
	if !f.open && (!f.mail || f.dead || f.rcptCount == 0) {
		if !whole && (size <= 64<<20 || len(f.replies) == 0) {
			f.over = true
			return
		}
		f.want(cmd, 503, 554, 552, 451) // or once more what the chunk before it was told
		f.bdat, f.dead, f.over = f.mail, f.mail, !whole
		return
	}
	f.bdat, f.open = true, true
	f.chunks += payload
	text, fault := f.chunks, false
	if !f.binaryMail {
		text, fault = lines(f.chunks, last && whole, false, f.limits)
		fault = fault || last && whole && strings.HasSuffix(f.chunks, "\r")
	}
	if f.stop > 0 && len(f.replies) > 0 && f.replies[0].code == 451 {
		f.stopped(cmd, len(text), last)
		return
	}
	switch {
	case fault || f.limits.size > 0 && len(text) > f.limits.size:
		f.broken(whole || f.stop == 0) // who gave up early throws the rest of a chunk away unseen
	case !whole:
		f.over = true
	case last:
		f.taken(text)
	default:
		f.want(cmd, 250)
	}
}

// stopped is a chunk at which the handler gave the message up. What else is wrong
// with it may or may not have been seen.
func (f *follower) stopped(cmd string, read int, last bool) {
	f.want(cmd, 451)
	if read < f.stop {
		f.fail("the message was given up after %d octets", read)
	}
	f.hear("void")
	f.open, f.mayEnd, f.chunks = false, true, ""
	f.dead = true
	if last {
		f.reset()
	}
}
