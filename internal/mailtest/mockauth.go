package mailtest

import (
	"encoding/base64"
	"strings"
)

// auth plays AUTH PLAIN and LOGIN (RFC 4954). Whoever talks on in the middle of it
// talks to the mechanism: what he says is no command.
func (c *peerConn) auth(s Script, line, arg string) error {
	mechanism, initial, given := strings.Cut(arg, " ")
	mechanism = strings.ToUpper(mechanism)
	switch {
	case s.Logins == nil:
		return c.answer("AUTH", line, "535 5.7.8 Nobody is known here")
	case c.login != "":
		c.m.fault(c.index, "AUTH after AUTH")
		return c.answer("AUTH", line, "503 5.5.1 You have logged in")
	case mechanism == "PLAIN" && given:
		return c.judgeLogin(s, line, splitPlain(initial))
	case mechanism == "PLAIN":
		said, err := c.challenge(line, "")
		if err != nil || said == nil {
			return err
		}
		return c.judgeLogin(s, "response", splitPlain(*said))
	case mechanism == "LOGIN" && !given:
		return c.authLogin(s, line)
	}
	return c.answer("AUTH", line, "504 5.5.4 Unknown mechanism")
}

func (c *peerConn) authLogin(s Script, line string) error {
	var said [2]string
	for i, prompt := range []string{"Username:", "Password:"} {
		r, err := c.challenge(line, prompt)
		if err != nil || r == nil {
			return err
		}
		said[i], line = decode64(*r), "response"
	}
	return c.judgeLogin(s, line, said)
}

// challenge sends a 334 and reads the answer to it; nil where the script said something else.
func (c *peerConn) challenge(subject, prompt string) (*string, error) {
	code, err := c.reply("AUTH", subject, "334 "+base64.StdEncoding.EncodeToString([]byte(prompt)))
	if err != nil || code != 334 {
		return nil, err
	}
	said, err := c.line()
	if err == nil && said == "*" { // RFC 4954, 4: he gives it up
		return nil, c.answer("AUTH", "response", "501 5.7.0 Given up")
	}
	return &said, err
}

func (c *peerConn) judgeLogin(s Script, subject string, said [2]string) error {
	usual := "535 5.7.8 Wrong user name or password"
	if password, known := s.Logins[said[0]]; known && password == said[1] {
		usual = "235 2.7.0 Welcome"
	}
	code, err := c.reply("AUTH", subject, usual)
	if code == 235 {
		c.login = said[0]
	}
	return err
}

// splitPlain takes a PLAIN message apart (RFC 4616, 2); who would speak for another is nobody.
func splitPlain(s string) [2]string {
	parts := strings.Split(decode64(s), "\x00")
	if len(parts) != 3 || parts[0] != "" && parts[0] != parts[1] {
		return [2]string{}
	}
	return [2]string{parts[1], parts[2]}
}

func decode64(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return ""
	}
	return string(b)
}
