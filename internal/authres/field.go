package authres

import (
	"strings"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Name is the field's name.
const Name = "Authentication-Results"

const (
	// MaxSignatures is how many DKIM signatures are written down.
	MaxSignatures = 8

	maxLine  = 77  // octets of a line without its CRLF, where words allow it (RFC 5322, 2.1.1)
	maxValue = 255 // octets of a property
	maxText  = 200 // octets of a comment
)

// Fields is what was found of a message. Checks that were not made are left out.
type Fields struct {
	SPF   evidence.SPF
	From  mail.ReversePath     // the envelope sender
	Helo  string               // the name that the client gave; written where SPF was asked about it
	DKIM  []evidence.Signature // nil: nobody looked; empty: there is no signature
	DMARC evidence.DMARC
}

// Append appends the whole field of the server id, folded, with its CRLF.
func Append(b []byte, id string, f Fields) []byte {
	w := writer{b: b, start: len(b)}
	w.b = append(w.b, Name...)
	w.b = append(w.b, ':')
	w.word(value(id))
	w.spf(f)
	w.dkim(f.DKIM)
	w.dmarc(f.DMARC)
	if !w.any {
		w.b = append(w.b, ';')
		w.word("none")
	}
	return append(w.b, "\r\n"...)
}

func (w *writer) spf(f Fields) {
	if f.SPF.Result == evidence.NotChecked {
		return
	}
	w.method("spf", f.SPF.Result)
	w.comment("", f.SPF.Detail)
	switch {
	case f.SPF.Helo && f.Helo != "":
		w.property("smtp.helo", f.Helo)
	case f.SPF.Helo:
		w.property("smtp.helo", f.SPF.Domain)
	case !f.From.IsNull():
		w.property("smtp.mailfrom", f.From.Domain())
	default:
		w.property("smtp.mailfrom", f.SPF.Domain)
	}
}

func (w *writer) dkim(all []evidence.Signature) {
	if all != nil && len(all) == 0 {
		w.method("dkim", evidence.None)
	}
	for _, s := range all[:min(len(all), MaxSignatures)] {
		if s.Result == evidence.NotChecked {
			continue
		}
		w.method("dkim", s.Result)
		w.comment("", s.Detail)
		w.property("header.d", s.Domain)
		w.property("header.s", s.Selector)
	}
}

func (w *writer) dmarc(d evidence.DMARC) {
	if d.Result == evidence.NotChecked {
		return
	}
	w.method("dmarc", d.Result)
	policy := ""
	if d.Policy != evidence.PolicyUnknown {
		policy = "p=" + d.Policy.String()
	}
	w.comment(policy, d.Detail)
	w.property("header.from", d.Domain)
}

// writer folds words into lines. No word holds white space, so that a line can end before each.
type writer struct {
	b     []byte
	start int  // of the line
	any   bool // a method was written
}

// word puts a word behind a blank, or on a new line if this one is full. One octet is kept for what ends the part.
func (w *writer) word(s string) {
	if len(w.b)-w.start+1+len(s)+1 > maxLine {
		w.line()
	} else {
		w.b = append(w.b, ' ')
	}
	w.b = append(w.b, s...)
}

// line begins a new one, with the blank that folds it.
func (w *writer) line() {
	w.b = append(w.b, "\r\n"...)
	w.start = len(w.b)
	w.b = append(w.b, ' ')
}

// method begins a part, on a line of its own.
func (w *writer) method(name string, r evidence.Result) {
	w.any = true
	w.b = append(w.b, ';')
	w.line()
	w.b = append(w.b, name...)
	w.b = append(w.b, '=')
	w.b = append(w.b, r.String()...)
}

// comment writes what we say, and a detail that may have octets of strangers in it.
func (w *writer) comment(ours, detail string) {
	words := strings.Fields(text(detail))
	switch {
	case ours != "" && len(words) > 0:
		words = append([]string{ours + ","}, words...)
	case ours != "":
		words = []string{ours}
	case len(words) == 0:
		return
	}
	words[0] = "(" + words[0]
	words[len(words)-1] += ")"
	for _, s := range words {
		w.word(s)
	}
}

// property writes one, unless it is empty.
func (w *writer) property(name, v string) {
	if v != "" {
		w.word(name + "=" + value(v))
	}
}

// value is s as a value of RFC 8601, 2.2: a domain folded, everything else with its odd octets replaced, and quoted
// where it is no token.
func value(s string) string {
	if s == "" {
		return `""`
	}
	if d, err := fold(s); err == nil && d[0] != '[' {
		return d
	}
	var v strings.Builder
	token := true
	for _, r := range s {
		switch {
		case v.Len() == maxValue:
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r < 0x80 && strings.ContainsRune("!#$%&'*+-._{|}~", r):
			v.WriteByte(byte(r))
		case r == '[' || r == ']' || r == ':' || r == '/' || r == '@':
			token = false
			v.WriteByte(byte(r))
		default:
			v.WriteByte('_')
		}
	}
	if token {
		return v.String()
	}
	return `"` + v.String() + `"`
}

// fold is mail.FoldDomain for what may be of any length: its work grows faster than a label.
func fold(s string) (string, error) {
	if len(s) > 4*mail.MaxDomain {
		return "", mail.ErrDomain
	}
	return mail.FoldDomain(s)
}

// text is s as it may stand in a comment, whatever the reader knows of comments: neither parentheses and backslashes,
// nor what would begin another result.
func text(s string) string {
	var t strings.Builder
	for _, r := range s {
		switch {
		case t.Len() >= maxText:
			return t.String()
		case r == '(':
			r = '['
		case r == ')':
			r = ']'
		case r == '\\':
			r = '/'
		case r == ';':
			r = ','
		case r == '=':
			r = ':'
		case r == '"':
			r = '\''
		case r == '\t' || r == '\r' || r == '\n':
			r = ' '
		case r < ' ' || r >= 0x7f:
			r = '?'
		}
		t.WriteByte(byte(r))
	}
	return t.String()
}
