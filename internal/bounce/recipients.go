package bounce

import (
	"bytes"
	"slices"
	"strings"
)

// recipients are those of the status part, or else of the header field, or else of the text.
func (n *notice) recipients() []Recipient {
	if rs := n.statusRecipients(); len(rs) > 0 {
		return rs
	}
	var named []Recipient
	for _, a := range bytes.FieldsFunc(n.head.failedRecipients[:min(len(n.head.failedRecipients), 400*MaxRecipients)], func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		if a = cleanAddress(a); a != nil && len(named) < MaxRecipients {
			named = append(named, Recipient{Final: string(a)})
		}
	}
	for i := range n.parts {
		p := &n.parts[i]
		if !p.plain() {
			continue
		}
		t, h := p.search()
		if !h.Empty() {
			t = before(t, h.raw)
		}
		if rs := parseStatus(t); len(rs) > 0 && rs[0].Address() != "" {
			return rs
		}
		if rs := textRecipients(t); len(rs) > 0 {
			return merge(named, rs)
		}
		if r := anyRecipient(t); r.Final != "" && len(named) == 0 {
			return []Recipient{r}
		}
	}
	return named
}

// anyRecipient takes the first address of a text in which none has a line of its own.
func anyRecipient(t []byte) Recipient {
	at := bytes.IndexByte(t, '@')
	if at < 0 {
		return Recipient{}
	}
	const around = " \t\r\n<>()[]\"',;:="
	start := bytes.LastIndexAny(t[max(0, at-64):at], around) + 1 + max(0, at-64)
	end := len(t)
	if i := bytes.IndexAny(t[at:min(len(t), at+256)], around); i >= 0 {
		end = at + i
	}
	a := cleanAddress(t[start:end])
	return Recipient{Final: string(a), Status: findStatus(t[:min(len(t), openingSize)])}
}

// statusRecipients reads the status part, of a receipt too.
func (n *notice) statusRecipients() []Recipient {
	for _, p := range n.parts {
		if p.status() {
			if rs := parseStatus(p.text()); len(rs) > 0 {
				return rs
			}
		}
	}
	return nil
}

// status says that the part is one of fields for programs.
func (c content) status() bool {
	return c.is("message/delivery-status") || c.is("message/global-delivery-status") ||
		c.is("message/disposition-notification") || c.is("message/global-disposition-notification") || c.is("message/feedback-report")
}

// maxAbout is how long a Message-ID may be, in octets: a line's worth (RFC 5322, 2.1.1).
const maxAbout = 998

// about reads off the status parts which message the notice says it is about. One that is too long is none.
func (n *notice) about() []string {
	var ids []string
	for _, p := range n.parts {
		if !p.status() {
			continue
		}
		for t := skipEmpty(p.text()); len(t) > 0 && len(ids) < MaxAbout; t = skipEmpty(t) {
			var f field
			f, t = nextField(t)
			if !equalFold(f.name, "original-message-id") && !equalFold(f.name, "x-original-message-id") {
				continue
			}
			if v := bytes.TrimSpace(f.value); len(v) > 0 && len(v) <= maxAbout {
				if id := unfold(v); !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
		}
	}
	return ids
}

// before returns what stands in t before its part raw; all of it if raw is a copy.
func before(t, raw []byte) []byte {
	first, _ := cutLine(raw)
	if i := bytes.Index(t, first); i >= 0 {
		return t[:i]
	}
	return t
}

// parseStatus reads groups of fields (RFC 3464, 2.1). A group counts if it says anything of a recipient, so that
// it does not matter where the empty lines were put.
func parseStatus(t []byte) []Recipient {
	var rs []Recipient
	var r Recipient
	for len(t) > 0 && len(rs) < MaxRecipients {
		if line, rest := cutLine(t); blank(line) {
			if r != (Recipient{}) {
				rs, r = append(rs, r), Recipient{}
			}
			t = skipEmpty(rest)
			continue
		}
		var f field
		f, t = nextField(t)
		r.take(f)
	}
	if r != (Recipient{}) && len(rs) < MaxRecipients {
		rs = append(rs, r)
	}
	if len(rs) > 1 && rs[0].Address() == "" {
		rs = rs[1:]
	}
	return rs
}

// take adds what the field says.
func (r *Recipient) take(f field) {
	switch {
	case equalFold(f.name, "final-recipient"):
		r.Final = typedAddress(f.value)
	case equalFold(f.name, "original-recipient"):
		r.Original = typedAddress(f.value)
	case equalFold(f.name, "action"):
		r.Action = parseAction(f.value)
	case equalFold(f.name, "status"):
		r.Status = findStatus(f.value)
	case equalFold(f.name, "diagnostic-code"):
		r.Diagnostic = diagnostic(f.value)
		if r.Status == "" {
			r.Status = findStatus(f.value)
		}
	}
}

// diagnostic unfolds what the other server said and keeps the beginning.
func diagnostic(v []byte) string {
	s := unfold(v[:min(len(v), 1000)])
	return s[:min(len(s), 500)]
}

// typedAddress takes the type off, as in "rfc822; user@example.com", and what some put around the address.
func typedAddress(v []byte) string {
	if i := bytes.IndexByte(v, ';'); i >= 0 {
		v = v[i+1:]
	}
	return string(bytes.Trim(v[:min(len(v), 400)], "<> \t\r\n"))
}

// parseAction reads the word of RFC 3464, 2.3.3; comments behind it are left out.
func parseAction(v []byte) Action {
	v = bytes.TrimSpace(v)
	for a := Failed; a <= Expanded; a++ {
		if hasPrefixFold(v, actionNames[a]) {
			return a
		}
	}
	return ActionUnknown
}

// findStatus returns the first enhanced status in v (RFC 3463), or "".
func findStatus(v []byte) string {
	for i := 0; i+4 < len(v); i++ {
		if v[i] != '2' && v[i] != '4' && v[i] != '5' || v[i+1] != '.' || i > 0 && (digit(v[i-1]) || v[i-1] == '.') {
			continue
		}
		j := i + 2
		j = digits(v, j)
		if j == i+2 || j >= len(v) || v[j] != '.' {
			continue
		}
		end := digits(v, j+1)
		if end == j+1 || end < len(v) && v[end] == '.' && end+1 < len(v) && digit(v[end+1]) {
			continue // a version, or an address of IPv4
		}
		return string(v[i:end])
	}
	return ""
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// digits returns the index behind at most three digits from i on.
func digits(v []byte, i int) int {
	for n := 0; n < 3 && i < len(v) && digit(v[i]); n++ {
		i++
	}
	return i
}

// textRecipients reads recipients off plain text by the shape in which most servers write them: a line that
// begins with the address, and lines behind it that say why.
func textRecipients(t []byte) []Recipient {
	var rs []Recipient
	for t = skipEmpty(t); len(t) > 0; t = skipEmpty(t) {
		var line []byte
		line, t = cutLine(t)
		if a, rest := leadingAddress(line); a != nil {
			if len(rs) == MaxRecipients {
				break
			}
			rs = append(rs, Recipient{Final: string(a)})
			line = rest
		}
		if len(rs) == 0 || blank(line) {
			continue
		}
		if r := &rs[len(rs)-1]; r.Status == "" {
			r.Status = findStatus(line)
			if r.Diagnostic == "" || r.Status != "" {
				r.Diagnostic = diagnostic(line)
			}
		}
	}
	return rs
}

// leadingAddress returns the address with which the line begins, whatever is put around it, and the rest.
func leadingAddress(line []byte) (address, rest []byte) {
	line = bytes.TrimLeft(line, " \t<\"*->'")
	at := bytes.IndexByte(line[:min(len(line), 66)], '@')
	if at <= 0 {
		return intro(line)
	}
	end := at + 1
	for end < len(line) && (digit(line[end]) || 'a' <= lower(line[end]) && lower(line[end]) <= 'z' || line[end] == '.' || line[end] == '-') {
		end++
	}
	if end == at+1 || bytes.ContainsAny(line[:at], " \t:;,<>()") {
		return intro(line)
	}
	return bytes.TrimRight(line[:end], "."), bytes.TrimLeft(line[end:], ">\":")
}

// intros come before an address in the sentences of some servers.
var intros = [...]string{
	"unknown user: ", "rcpt to: ", "rcpt to:", "delivery failed: ", "unable to deliver message to: ", "unable to deliver message to ",
	"there was an error delivering your mail to ", "recipient address: ", "reason: unable to deliver message to ", "final-recipient: rfc822; ", "failed recipient: ",
}

// intro returns the address behind one of them.
func intro(line []byte) (address, rest []byte) {
	for _, p := range &intros {
		if hasPrefixFold(line, p) && len(line) > len(p) {
			word, more, _ := bytes.Cut(bytes.TrimSpace(line[len(p):]), []byte(" "))
			if a := cleanAddress(word); a != nil {
				return a, more
			}
		}
	}
	return nil, line
}

// cleanAddress takes off what is put around an address, and returns nil if it is none.
func cleanAddress(a []byte) []byte {
	a = bytes.Trim(a, "<>\"',;:.()[] \t\r\n")
	if i := bytes.IndexByte(a, '@'); i <= 0 || i == len(a)-1 || len(a) > 320 {
		return nil
	}
	return a
}

// merge prefers the addresses of the header field and adds what the text says of them.
func merge(named, text []Recipient) []Recipient {
	if len(named) == 0 {
		return text
	}
	for i := range named {
		for _, r := range text {
			if strings.EqualFold(r.Final, named[i].Final) {
				named[i].Status, named[i].Diagnostic = r.Status, r.Diagnostic
				break
			}
		}
	}
	return named
}
