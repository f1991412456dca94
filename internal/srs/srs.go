package srs

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"backstop/internal/mail"
)

// MaxAgeDays is for how many days an SRS0 address is good after the day on which it was made.
const MaxAgeDays = 21

// slots is the number of days that two digits of base32 tell apart.
const slots = 1 << 10

const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// Options is how a Rewriter is set up.
type Options struct {
	Domain    string   // of the forwarder; needed for Forward only
	Secrets   [][]byte // the first makes the hash, all of them prove it
	Separator byte     // behind SRS0 and SRS1: '=' (also for 0), '+' or '-'; all three are understood
	Digits    int      // of a hash that is made: 4 (also for 0) to 26
	MinDigits int      // of a hash that is believed; 0: Digits
}

// Rewriter makes and reverses addresses. It may be used by many goroutines.
type Rewriter struct {
	domain    string
	secrets   [][]byte
	separator string
	digits    int
	min       int
}

// New checks the options.
func New(o Options) (*Rewriter, error) {
	r := &Rewriter{separator: "=", digits: 4}
	switch o.Separator {
	case 0:
	case '=', '+', '-':
		r.separator = string(o.Separator)
	default:
		return nil, fmt.Errorf("the separator of srs addresses is =, + or -, not %q", o.Separator)
	}
	if o.Digits != 0 {
		r.digits = o.Digits
	}
	if r.min = o.MinDigits; r.min == 0 {
		r.min = r.digits
	}
	if r.min < 4 || r.digits > 26 || r.min > r.digits {
		return nil, fmt.Errorf("an srs hash has 4 to 26 digits, and no fewer than are believed, not %d and %d", r.digits, r.min)
	}
	if len(o.Secrets) == 0 {
		return nil, errors.New("srs addresses need a secret")
	}
	for _, s := range o.Secrets {
		if len(s) == 0 {
			return nil, errors.New("a secret for srs addresses is empty")
		}
		r.secrets = append(r.secrets, append([]byte(nil), s...))
	}
	if o.Domain != "" {
		d, err := mail.FoldDomain(o.Domain)
		if err != nil {
			return nil, err
		}
		r.domain = d
	}
	return r, nil
}

// Secrets reads postsrsd's file of secrets: a secret a line, empty lines left out. The first makes
// addresses, all of them prove them.
func Secrets(file []byte) [][]byte {
	var all [][]byte
	for _, line := range strings.FieldsFunc(string(file), func(r rune) bool { return r == '\r' || r == '\n' }) {
		all = append(all, []byte(line))
	}
	return all
}

// Is says whether an address has the form of an SRS address, of whomever: it begins with
// SRS0 or SRS1 and one of the three separators.
func Is(a mail.Address) bool { return a.IsSRS() }

// open takes a local part apart: its quote, 0 or 1 for SRS0 or SRS1 and -1 for neither, and what
// stands behind that, separator included.
func open(local string) (quote string, level int, rest string) {
	if local != "" && local[0] == '"' {
		quote, local = local[:1], local[1:len(local)-1]
	}
	if len(local) < 5 || lower(local[0]) != 's' || lower(local[1]) != 'r' || lower(local[2]) != 's' ||
		local[3] != '0' && local[3] != '1' || strings.IndexByte("=+-", local[4]) < 0 {
		return quote, -1, local
	}
	return quote, int(local[3] - '0'), local[4:]
}

// hash writes the first digits of the keyed hash over the parts. They are hashed in
// lower case, ASCII only, as libsrs2 does.
func (r *Rewriter) hash(secret []byte, parts ...string) string {
	h := hmac.New(sha1.New, secret)
	for _, p := range parts {
		b := []byte(p)
		for i := range b {
			b[i] = lower(b[i])
		}
		h.Write(b)
	}
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil))[:r.digits]
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// dayOf counts days since 1970 (UTC).
func dayOf(t time.Time) int {
	if t.Unix() < 0 {
		return 0
	}
	return int(t.Unix() / (24 * 60 * 60))
}

func stamp(day int) string {
	day %= slots
	return string([]byte{base32[day>>5], base32[day&31]})
}

// readStamp reads two digits of base32, whatever their case.
func readStamp(s string) (day int, ok bool) {
	if len(s) != 2 {
		return 0, false
	}
	hi, lo := strings.IndexByte(base32, upper(s[0])), strings.IndexByte(base32, upper(s[1]))
	return hi<<5 | lo, hi >= 0 && lo >= 0
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - ('a' - 'A')
	}
	return c
}
