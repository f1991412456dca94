package mailtest

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// command carries out one command line; an error ends the conversation.
func (c *peerConn) command(line string) error {
	verb, arg, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	s, _ := c.m.now()
	switch verb {
	case "EHLO", "HELO", "LHLO":
		return c.hello(s, verb, line, arg)
	case "STARTTLS":
		return c.startTLS(s)
	case "XCLIENT", "XFORWARD":
		return c.clientAttributes(s, verb, line, arg)
	case "AUTH":
		return c.auth(s, line, arg)
	case "MAIL":
		return c.mail(s, line)
	case "RCPT":
		return c.rcpt(s, line)
	case "DATA":
		return c.data(s, line)
	case "BDAT":
		return c.bdat(line, arg)
	case "RSET":
		c.reset()
		return c.answer(verb, line, "250 2.0.0 Forgotten")
	case "NOOP":
		return c.answer(verb, line, "250 2.0.0 Nothing done")
	case "VRFY":
		return c.answer(verb, line, "252 2.1.5 Try it")
	case "QUIT":
		if err := c.answer(verb, line, "221 2.0.0 Goodbye"); err != nil {
			return err
		}
		return errLeave
	}
	return c.answer(verb, line, "500 5.5.2 Unknown command")
}

func (c *peerConn) reset() {
	c.from, c.to, c.chunks, c.chunking = nil, nil, nil, false
}

func (c *peerConn) hello(s Script, verb, line, arg string) error {
	if (verb == "LHLO") != s.LMTP {
		return c.answer(verb, line, "500 5.5.1 The other protocol is spoken here")
	}
	usual := "250 mock.test"
	if verb != "HELO" {
		offer := slices.Clone(s.Extensions)
		if s.TLS != nil && !c.tls {
			offer = append(offer, "STARTTLS")
		}
		if s.Logins != nil && !slices.ContainsFunc(offer, func(x string) bool { return strings.HasPrefix(x, "AUTH") }) {
			offer = append(offer, "AUTH PLAIN LOGIN")
		}
		usual = "250-mock.test"
		for _, x := range offer {
			usual += "\n250-" + x
		}
		i := strings.LastIndex(usual, "250-")
		usual = usual[:i] + "250 " + usual[i+4:]
	}
	code, err := c.reply(verb, line, usual)
	if code == 250 {
		c.reset()
		c.helo = arg
	}
	return err
}

// clientAttributes takes XCLIENT and XFORWARD; after XCLIENT the conversation
// begins anew, with a banner, as Postfix has it.
func (c *peerConn) clientAttributes(s Script, verb, line, arg string) error {
	offered := slices.ContainsFunc(s.Extensions, func(x string) bool { return strings.HasPrefix(x, verb) })
	usual := "250 2.0.0 Noted"
	if verb == "XCLIENT" {
		usual = orElse(s.Banner, "220 mock.test ESMTP")
	}
	if !offered {
		usual = "550 5.7.0 You may not"
	}
	code, err := c.reply(verb, line, usual)
	if code/100 == 2 {
		for _, a := range strings.Fields(arg) {
			k, v, _ := strings.Cut(a, "=")
			c.client[strings.ToUpper(k)] = v
		}
		if verb == "XCLIENT" {
			c.reset()
			c.helo = ""
		}
	}
	return err
}

// path takes "FROM:<…> params" apart. The path ends at the first > outside quotes.
func path(line, word string) (Rcpt, bool) {
	_, rest, _ := strings.Cut(line, " ")
	if len(rest) < len(word) || !strings.EqualFold(rest[:len(word)], word) {
		return Rcpt{}, false
	}
	rest = strings.TrimLeft(rest[len(word):], " ")
	if !strings.HasPrefix(rest, "<") {
		return Rcpt{}, false
	}
	quoted := false
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == '\\' && quoted:
			i++
		case rest[i] == '"':
			quoted = !quoted
		case rest[i] == '>' && !quoted:
			return Rcpt{rest[1:i], strings.TrimSpace(rest[i+1:])}, true
		}
	}
	return Rcpt{}, false
}

func (c *peerConn) mail(s Script, line string) error {
	p, ok := path(line, "FROM:")
	usual := "250 2.1.0 Sender noted"
	switch {
	case !ok:
		usual = "501 5.5.4 MAIL FROM:<path> is wanted"
	case c.helo == "":
		usual = "503 5.5.1 EHLO first"
	case s.Logins != nil && c.login == "":
		usual = "530 5.7.0 Authentication required"
	case c.from != nil:
		c.m.fault(c.index, "MAIL inside a transaction")
		usual = "503 5.5.1 There is a transaction already"
	case s.tooBig(p.Params):
		usual = "552 5.3.4 Too big"
	}
	code, err := c.reply("MAIL", line, usual)
	if code/100 == 2 && ok {
		c.from = &p
	}
	return err
}

var sizePattern = regexp.MustCompile(`(?i)\bSIZE[= ](\d+)`)

// tooBig says whether the MAIL parameters declare more than is offered (RFC 1870, 6.1).
func (s Script) tooBig(params string) bool {
	declared := sizePattern.FindStringSubmatch(params)
	for _, x := range s.Extensions {
		if offer := sizePattern.FindStringSubmatch(x); offer != nil && declared != nil {
			most, _ := strconv.ParseUint(offer[1], 10, 64) // digits, says the pattern; out of range is the most there is
			n, _ := strconv.ParseUint(declared[1], 10, 64)
			return most > 0 && n > most
		}
	}
	return false
}

func (c *peerConn) rcpt(s Script, line string) error {
	p, ok := path(line, "TO:")
	usual := "250 2.1.5 Recipient noted"
	switch {
	case !ok:
		usual = "501 5.5.4 RCPT TO:<path> is wanted"
	case c.from == nil:
		usual = "503 5.5.1 MAIL first"
	case !s.has(p.Path):
		usual = fmt.Sprintf("550 5.1.1 <%s>: no such mailbox", p.Path)
	}
	code, err := c.reply("RCPT", line, usual)
	if code/100 == 2 && ok && c.from != nil {
		c.to = append(c.to, p)
	}
	return err
}

// has says whether the mailbox exists. Users may be written without a domain.
func (s Script) has(path string) bool {
	if s.Users == nil {
		return true
	}
	local := path
	if i := strings.LastIndexByte(path, '@'); i >= 0 {
		local = path[:i]
	}
	return slices.ContainsFunc(s.Users, func(u string) bool {
		return strings.EqualFold(u, path) || strings.EqualFold(u, local)
	})
}

func (c *peerConn) data(s Script, line string) error {
	usual := "354 Go on"
	switch {
	case c.chunking:
		usual = "503 5.5.1 DATA after BDAT"
	case c.from == nil:
		usual = "503 5.5.1 MAIL first"
	case len(c.to) == 0:
		usual = "554 5.5.1 No recipient"
	}
	code, err := c.reply("DATA", line, usual)
	if err != nil || code != 354 {
		return err
	}
	if c.from == nil || len(c.to) == 0 {
		return errLeave // a script said 354 where there was nothing to send
	}
	body, err := c.body(s)
	if err != nil {
		return err
	}
	return c.finish(s, body, false)
}

// body reads a message up to its last dot.
func (c *peerConn) body(s Script) ([]byte, error) {
	if s.Lenient {
		return c.lenientBody()
	}
	var body []byte
	for start := 0; ; {
		ch, err := c.r.ReadByte()
		if err != nil {
			return nil, err
		}
		body = append(body, ch)
		prev := byte(0)
		if len(body) > 1 {
			prev = body[len(body)-2]
		}
		if (ch == '\n') != (prev == '\r') || ch == 0 {
			c.m.fault(c.index, fmt.Sprintf("bare CR, bare LF or NUL in a message, at octet %d", len(body)))
			c.write("550 5.6.0 Lines end in CRLF\r\n")
			return nil, errLeave
		}
		if ch != '\n' {
			continue
		}
		if line := string(body[start:]); line == ".\r\n" {
			return body[:start], nil
		} else if line[0] == '.' {
			body = slices.Delete(body, start, start+1)
		}
		start = len(body)
	}
}

// lenientBody ends at a dot alone between any two line ends, NULs beside it ignored.
func (c *peerConn) lenientBody() ([]byte, error) {
	var body []byte
	for {
		line, err := c.line()
		if err != nil {
			return nil, err
		}
		if strings.Trim(line, "\x00") == "." {
			return body, nil
		}
		body = append(append(body, strings.TrimPrefix(line, ".")...), "\r\n"...)
	}
}

func (c *peerConn) bdat(line, arg string) error {
	size, rest, _ := strings.Cut(arg, " ")
	n, err := strconv.Atoi(size)
	if err != nil || n < 0 || n > 64<<20 {
		c.m.fault(c.index, "BDAT without a usable size: "+strconv.Quote(line))
		if err := c.answer("BDAT", line, "501 5.5.4 BDAT size [LAST]"); err != nil {
			return err
		}
		return errLeave // where the next command begins is anybody's guess (RFC 3030, 2)
	}
	chunk := make([]byte, n)
	if _, err := io.ReadFull(c.r, chunk); err != nil {
		return err
	}
	if c.from == nil || len(c.to) == 0 {
		return c.answer("BDAT", line, "503 5.5.1 No transaction")
	}
	c.chunks, c.chunking = append(c.chunks, chunk...), true
	if strings.EqualFold(strings.TrimSpace(rest), "LAST") {
		s, _ := c.m.now()
		return c.finish(s, c.chunks, true)
	}
	code, err := c.reply("BDAT", line, "250 2.0.0 Chunk noted")
	if code/100 != 2 {
		c.reset()
	}
	return err
}

// finish records the message and gives the final reply, in LMTP one a recipient
// and so one record a recipient (RFC 2033, 4.2). What is kept is on record before
// the reply leaves: who has read the reply finds the message here.
func (c *peerConn) finish(s Script, body []byte, chunked bool) error {
	to, from := c.to, *c.from
	c.reset()
	groups := [][]Rcpt{to}
	if s.LMTP {
		groups = nil
		for _, r := range to {
			groups = append(groups, []Rcpt{r})
		}
	}
	for _, g := range groups {
		x := &Message{Conn: c.index, Helo: c.helo, From: from.Path, FromParams: from.Params, To: g, Body: body,
			Chunked: chunked, TLS: c.tls, Login: c.login, Client: c.client}
		if err := c.final(s, x); err != nil {
			return err
		}
	}
	return nil
}

func (c *peerConn) final(s Script, x *Message) error {
	subject := string(x.Body)
	if s.LMTP {
		subject = x.To[0].Path
	}
	r := c.m.rule("DOT", subject)
	x.Kept, x.Code = true, 250
	if r != nil && (r.Silent || r.Hangup && r.Reply == "") {
		x.Kept, x.Code = r.Keep, 0
	} else if r != nil && r.Reply != "" {
		x.Code = replyCode(r.Reply)
		x.Kept = r.Keep || x.Code/100 == 2
	}
	if err := c.holdBack(r); err != nil {
		return err
	}
	c.m.keep(x)
	code, err := c.say(r, "250 2.0.0 Kept")
	if code != 0 && (err == nil || errors.Is(err, errLeave)) {
		c.m.mu.Lock()
		x.Answered = true
		c.m.notify()
		c.m.mu.Unlock()
	}
	return err
}

func (m *Mock) keep(x *Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = append(m.kept, x)
	m.notify()
}
