package smtp

import (
	"net/netip"
	"strconv"
	"strings"

	"backstop/internal/mail"
)

var (
	replyXClientSyntax = mail.MustReply(501, "5.5.4", "An XCLIENT attribute has no valid value")
	replyXClientOpen   = mail.MustReply(503, "5.5.1", "XCLIENT cannot stand inside a transaction")
)

// runXClient takes a trusted client's word for who its own client is. The
// conversation then starts anew, banner and all (Postfix XCLIENT_README).
func (c *Conn) runXClient(arg []byte) bool {
	switch {
	case !c.xclient:
		return c.fault(replyXClientNo)
	case c.mail:
		return c.fault(replyXClientOpen)
	}
	next := xclientAttrs{addr: c.addr, port: c.port, name: c.name, helo: c.xhelo, login: c.login}
	for field := range strings.FieldsSeq(string(arg)) {
		key, value, ok := strings.Cut(field, "=")
		if !ok || !next.set(strings.ToUpper(key), decodeXtext(value)) {
			return c.fault(replyXClientSyntax)
		}
	}
	c.addr, c.port, c.name, c.xhelo, c.login = next.addr, next.port, next.name, next.helo, next.login
	c.peerChanged()
	c.helo, c.extended = false, false
	c.h.Close()
	c.h = c.cfg.NewHandler(c)
	if !c.banner() {
		c.linger()
		return false
	}
	return true
}

type xclientAttrs struct {
	addr              netip.Addr
	port              uint16
	name, helo, login string
}

// set takes one attribute. [UNAVAILABLE] and [TEMPUNAVAIL] mean that the front does not know.
func (x *xclientAttrs) set(key, value string) bool {
	if v := strings.ToUpper(value); v == "[UNAVAILABLE]" || v == "[TEMPUNAVAIL]" {
		value = ""
	}
	switch key {
	case "ADDR":
		if value == "" {
			return true
		}
		if rest, ok := cutFold(value, "IPV6:"); ok {
			value = rest
		}
		a, err := netip.ParseAddr(value)
		if err != nil {
			return false
		}
		x.addr = a.Unmap().WithZone("")
	case "PORT":
		if value == "" {
			x.port = 0
			return true
		}
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return false
		}
		x.port = uint16(n)
	case "NAME":
		x.name = printable(value)
	case "HELO":
		x.helo = printable(value)
	case "LOGIN":
		x.login = printable(value)
	case "PROTO", "DESTADDR", "DESTPORT":
	default:
		return false
	}
	return true
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// decodeXtext undoes RFC 3461, 4; what is no xtext stays as it is.
func decodeXtext(s string) string {
	if strings.IndexByte(s, '+') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
