package smtp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Auth is who a client is to the server, and how it proves that (RFC 4954). No verb of
// fmt, no JSON and no log shows the password.
type Auth struct{ Username, Password string }

func (a Auth) String() string { return "login of " + strconv.Quote(a.Username) }

// Format keeps every verb of fmt from looking inside.
func (a Auth) Format(f fmt.State, _ rune) { io.WriteString(f, a.String()) }

// MarshalText serves JSON and slog.
func (a Auth) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// authError is a login that was not even tried.
type authError struct{ text, hint string }

func (e *authError) Error() string { return e.text }

// Hint says what to change.
func (e *authError) Hint() string { return e.hint }

var (
	errAuthClear = &authError{"TLS is not in use, and a password is not sent in the clear",
		"let that server offer STARTTLS, and set tls=require for it"}
	errAuthNone = &authError{"a user name is configured, and the server offers no AUTH",
		"ask its operator at which port it takes logins (587 as a rule), or leave the user name out"}
	errAuthForm      = &authError{"the user name is empty, or the user name or password holds a NUL character", "write both as the server's operator gave them to you"}
	errAuthChallenge = errors.New("the server asks for more than PLAIN and LOGIN have to say")
)

// authLine is the longest AUTH command with an initial response, in octets and
// without CRLF (RFC 4954, 4: the line is bounded as any other command's).
const authLine = 510

// login proves who we are, where that is configured.
func (c *Client) login() error {
	a := c.cfg.Auth
	if a == nil {
		return nil
	}
	plain := slices.Contains(c.caps.Auth, "PLAIN")
	switch {
	case a.Username == "" || strings.ContainsRune(a.Username+a.Password, 0):
		return c.broken(StepAuth, errAuthForm)
	case !c.caps.TLS && !c.local():
		return c.broken(StepAuth, errAuthClear)
	case len(c.caps.Auth) == 0:
		return c.broken(StepAuth, errAuthNone)
	case !plain && !slices.Contains(c.caps.Auth, "LOGIN"):
		return c.broken(StepAuth, &authError{fmt.Sprintf("the server takes logins by %.200q only", strings.Join(c.caps.Auth, " ")),
			"PLAIN and LOGIN are spoken here: let its operator switch one of them on"})
	}
	if !plain {
		return c.prove("AUTH LOGIN", a.Username, a.Password)
	}
	said := "\x00" + a.Username + "\x00" + a.Password // RFC 4616, 2: nobody else is spoken for
	if line := "AUTH PLAIN " + encode(said); len(line) <= authLine {
		return c.prove(line)
	}
	return c.prove("AUTH PLAIN", said)
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// prove sends the command, and one of the answers for each challenge. What the
// challenges say does not matter: with LOGIN they come in every language.
func (c *Client) prove(line string, answers ...string) error {
	resp, err := c.command(StepAuth, line)
	for _, a := range answers {
		if err != nil || resp.Code != 334 {
			break
		}
		resp, err = c.command(StepAuth, encode(a))
	}
	clear(c.w[:cap(c.w)])
	switch {
	case err != nil:
		return err
	case resp.Class() == 2:
		return nil
	case resp.Class() == 3:
		return c.broken(StepAuth, errAuthChallenge)
	}
	c.cfg.Auth.censor(&resp)
	return &RefusedError{StepAuth, resp}
}

// censor drops an answer's words where they repeat the password, as those of a
// server do that quotes the command it did not like. They go into logs.
func (a *Auth) censor(r *Response) {
	secrets := []string{a.Password, encode(a.Password), encode("\x00" + a.Username + "\x00" + a.Password)}
	text := strings.Join(r.Lines, "\n")
	for _, s := range secrets {
		if s != "" && strings.Contains(text, s) {
			r.Lines = []string{"(the server's words repeat the password, and are left out)"}
			return
		}
	}
}

// local says whether the other end is on this machine: what goes there passes no network.
func (c *Client) local() bool {
	switch a := c.nc.RemoteAddr().(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	}
	return false
}
