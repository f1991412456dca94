package blocklist

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What strangers may make us print.
const (
	maxCodes = 16
	maxTexts = 3
	maxText  = 300 // characters
)

// said is what an answer amounts to.
type said struct {
	standing Standing // Listed, Clean, or Unknown
	codes    []netip.Addr
	why      string        // Unknown
	refused  bool          // Unknown, and the list itself says that it does not answer: its text says more
	kept     time.Duration // how much longer servers may remember it
}

// judge reads the answer to a question for an address.
func judge(addrs []netip.Addr, kept time.Duration, err error) said {
	if err != nil {
		var e *net.DNSError
		if errors.As(err, &e) && e.IsNotFound {
			return said{standing: Clean}
		}
		return said{why: reason(err)}
	}
	if len(addrs) == 0 {
		return said{standing: Clean}
	}
	codes := slices.Clone(addrs)
	slices.SortFunc(codes, netip.Addr.Compare)
	codes = slices.Compact(codes)
	for _, c := range codes {
		if why, refused := unfit(c); why != "" {
			return said{why: why, refused: refused}
		}
	}
	if len(codes) > maxCodes {
		return said{why: fmt.Sprintf("%d answers at once are none that a list gives", len(codes))}
	}
	return said{standing: Listed, codes: codes, kept: kept}
}

// unfit says why an answer is none about the address; refused if it is the list's own word for that.
func unfit(c netip.Addr) (why string, refused bool) {
	if !c.Is4() || c.As4()[0] != 127 {
		return fmt.Sprintf("the answer %s is outside 127.0.0.0/8 and so not a list's: the resolver makes it up, or the list's domain has another owner", c), false
	}
	if q := c.As4(); q[1] == 255 && q[2] == 255 {
		switch q[3] {
		case 252:
			return fmt.Sprintf("the answer %s means that the zone is written wrongly", c), true
		case 254:
			return fmt.Sprintf("the answer %s means that the list does not answer this resolver: it is a public one, or nobody can tell whose it is", c), true
		case 255:
			return fmt.Sprintf("the answer %s means that too many questions came from this resolver", c), true
		}
		return fmt.Sprintf("the answer %s is an error code: the list refuses to answer this resolver", c), true
	}
	if c == testClean {
		return fmt.Sprintf("the answer %s means that the list refuses to answer this resolver", c), true
	}
	return "", false
}

// reason is why a question was not answered, without the name that was asked for.
func reason(err error) string {
	var e *net.DNSError
	switch {
	case !errors.As(err, &e):
		return printable(err.Error())
	case e.IsTimeout:
		return "there was no answer in time"
	}
	return printable(e.Err)
}

// texts makes what a list says fit to be printed: a few lines of plain characters.
func texts(records []string) []string {
	var out []string
	for _, r := range records {
		if t := printable(r); t != "" && len(out) < maxTexts && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// printable takes everything from s by which it could write elsewhere than in its line (control characters, marks of
// direction), and cuts it where it is too long.
func printable(s string) string {
	var b strings.Builder
	blank, n := false, 0
	for _, c := range s {
		if c == utf8.RuneError || !unicode.IsGraphic(c) {
			if !unicode.IsSpace(c) {
				c = '?'
			}
		}
		if unicode.IsSpace(c) {
			blank = b.Len() > 0
			continue
		}
		if blank {
			b.WriteByte(' ')
			n++
		}
		if blank = false; n >= maxText {
			b.WriteString("…")
			break
		}
		b.WriteRune(c)
		n++
	}
	return b.String()
}
