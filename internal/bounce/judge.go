package bounce

import (
	"bytes"
	"strings"
)

// How much of a notice's text its beginning is, in octets after white space was joined; for a sender who does
// not call himself automatic the server must begin with its own words at once.
const (
	openingSize = 2500
	firstWords  = 250
)

// notice is a message that gave reason to look closer.
type notice struct {
	head    *head
	parts   []part
	opening string // beginning of the first text, normalised; read once
	subject string // in lower case, without encoding
}

// judge says what the message is, by structure first.
func (n *notice) judge() (Kind, Action, Clue) {
	if k, c := n.byStructure(); k != Ordinary {
		n.read()
		return k, n.said(), c
	}
	h := n.head
	n.read()
	switch {
	case h.failedRecipients != nil:
		return Bounce, orFailed(n.said()), ClueFailedRecipients
	case h.sns:
		return n.topic()
	case h.fml && strings.Contains(n.opening, "original mail as follows"):
		return Bounce, Failed, ClueFml
	}
	from := n.fromSystem()
	if h.challengeMark || (from || h.automatic()) && n.says(challenges[:]) {
		return Challenge, ActionUnknown, ClueChallenge
	}
	if from && n.says(viruses[:]) {
		return VirusNotice, ActionUnknown, ClueVirus
	}
	if w := n.begins(from); w.clue != NoClue {
		if n.delayed() {
			w.action = Delayed
		}
		return Bounce, w.action, w.clue
	}
	if k, c := n.reply(); k != Ordinary {
		return k, ActionUnknown, c
	}
	if from {
		return n.bySender()
	}
	return Ordinary, ActionUnknown, NoClue
}

// fromSystem says that no person stands behind the message: the null sender, or the mailbox of a mail system.
func (n *notice) fromSystem() bool { return n.head.null || n.head.daemon() && !n.head.list }

// byStructure looks for the parts and types of RFC 6522 and those built on it.
func (n *notice) byStructure() (Kind, Clue) {
	report := n.head.content.is("multipart/report")
	clue := ClueReport
	if !report && len(n.parts) > 0 && n.parts[0].report != "" {
		report = true // what a list or gateway wrapped
	}
	if !report {
		if !n.fromSystem() && !n.head.automatic() {
			return Ordinary, NoClue
		}
		clue = ClueStatusPart
	}
	for _, p := range n.parts {
		switch {
		case p.is("message/feedback-report"):
			return Feedback, clue
		case p.is("message/disposition-notification"), p.is("message/global-disposition-notification"):
			return Receipt, clue
		case p.is("message/delivery-status"), p.is("message/global-delivery-status"):
			return Bounce, clue
		}
	}
	if !report || len(n.parts) == 0 {
		return Ordinary, NoClue
	}
	switch n.parts[0].report {
	case "delivery-status":
		return Bounce, clue
	case "disposition-notification":
		return Receipt, clue
	case "feedback-report":
		return Feedback, clue
	}
	return Ordinary, NoClue
}

// read fetches subject and beginning.
func (n *notice) read() {
	n.subject = n.head.plainSubject()
	for _, p := range n.parts {
		if p.plain() {
			n.opening = normalise(p.text(), false)
			return
		}
	}
	for _, p := range n.parts {
		if p.is("text/html") {
			n.opening = normalise(p.text(), true)
			return
		}
	}
}

// normalise puts the beginning of a text into lower case with single blanks, so that it does not matter how
// the lines were wrapped. Of HTML the tags are left out.
func normalise(t []byte, html bool) string {
	out := make([]byte, 0, min(len(t), openingSize))
	tag, gap := false, false
	for _, c := range t {
		switch {
		case html && c == '<':
			tag, gap = true, true
		case html && tag:
			tag = c != '>'
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			gap = true
		default:
			if gap && len(out) > 0 {
				out = append(out, ' ')
			}
			gap = false
			out = append(out, lower(c))
		}
		if len(out) >= openingSize {
			break
		}
	}
	return string(out)
}

// said is the action that beginning or subject tell of.
func (n *notice) said() Action {
	if n.delayed() {
		return Delayed
	}
	for _, w := range &openings {
		if strings.Contains(n.opening, w.text) {
			return w.action
		}
	}
	return subjectAction(n.subject)
}

func orFailed(a Action) Action {
	if a == ActionUnknown {
		return Failed
	}
	return a
}

// delayed says that the beginning speaks of a delay.
func (n *notice) delayed() bool {
	if hasPrefixFold(n.head.autoSubmitted, "auto-generated (warning-timeout)") {
		return true
	}
	for _, d := range &delays {
		if strings.Contains(n.opening, d) {
			return true
		}
	}
	return false
}

// says looks for one of the texts in subject and beginning.
func (n *notice) says(texts []string) bool {
	for _, t := range texts {
		if strings.Contains(n.subject, t) || strings.Contains(n.opening, t) {
			return true
		}
	}
	return false
}

// begins looks for the words with which servers begin. Whoever is not from a mail system needs the subject of a notice
// too, and a server's own words at once, because people quote such words at each other.
func (n *notice) begins(fromSystem bool) wording {
	opening := n.opening
	if !fromSystem {
		if n.head.list || subjectAction(n.subject) == ActionUnknown {
			return wording{}
		}
		opening = opening[:min(len(opening), firstWords)]
	}
	for _, w := range &openings {
		if w.clue == ClueWords && (!fromSystem || n.isReply()) {
			break
		}
		if strings.Contains(opening, w.text) {
			return w
		}
	}
	return wording{}
}

// isReply says that the message has a mark of automatic replies that mail systems do not use.
func (n *notice) isReply() bool {
	return n.head.replyMark || n.head.replySubject() || hasPrefixFold(n.head.precedence, "auto_reply")
}

// reply looks for the marks of automatic replies.
func (n *notice) reply() (Kind, Clue) {
	h := n.head
	switch {
	case hasPrefixFold(h.autoSubmitted, "auto-replied") && !h.daemon():
		return AutoReply, ClueAutoSubmitted
	case h.replyMark || hasPrefixFold(h.precedence, "auto_reply"):
		return AutoReply, ClueReplyField
	case h.replySubject():
		return AutoReply, ClueReplySubject
	}
	return Ordinary, NoClue
}

// bySender judges what a mail system, or the null sender, wrote in words that nobody here knows.
func (n *notice) bySender() (Kind, Action, Clue) {
	if a := subjectAction(n.subject); a != ActionUnknown {
		return Bounce, a, ClueSubject
	}
	if n.head.null && n.head.mailerDaemon() {
		return Bounce, ActionUnknown, ClueDaemon
	}
	if !n.returned().Empty() {
		return Bounce, ActionUnknown, ClueReturned
	}
	if n.head.automatic() && hasPrefixFold(n.head.autoSubmitted, "auto-replied") {
		return AutoReply, ActionUnknown, ClueAutoSubmitted
	}
	return Ordinary, ActionUnknown, NoClue
}

// topic reads a notification of Amazon SES that came by way of SNS: JSON, of which only the type is looked for.
func (n *notice) topic() (Kind, Action, Clue) {
	for _, key := range [...]string{`"notificationtype":"`, `"eventtype":"`, `"notificationtype": "`, `"eventtype": "`} {
		_, kind, ok := strings.Cut(n.opening, key)
		switch {
		case !ok:
		case strings.HasPrefix(kind, "bounce"):
			return Bounce, Failed, ClueTopic
		case strings.HasPrefix(kind, "complaint"):
			return Feedback, ActionUnknown, ClueTopic
		case strings.HasPrefix(kind, "delivery"):
			return Bounce, Delivered, ClueTopic
		}
	}
	return Ordinary, ActionUnknown, NoClue
}

// subjectAction says which action the subject tells of, ActionUnknown if it is not that of a notice. The subject of
// an answer or a forwarded notice is not.
func subjectAction(subject string) Action {
	for _, p := range [...]string{"re:", "fw:", "fwd:", "aw:", "wg:", "antw:", "tr:", "sv:", "vs:"} {
		if strings.HasPrefix(subject, p) {
			return ActionUnknown
		}
	}
	for _, w := range &failureSubjects {
		if strings.Contains(subject, w.text) {
			return w.action
		}
	}
	return ActionUnknown
}

// mailerDaemon says that the sender is not only a postmaster, who is sometimes a person.
func (h *head) mailerDaemon() bool {
	return h.daemon() && !sameWord(localPart(h.from), "postmaster")
}

// returned finds the returned header, in the places where servers put it.
func (n *notice) returned() Header {
	if h := n.returnedPart(); !h.Empty() {
		return h
	}
	for i, p := range n.parts {
		// A part that has no header of its own begins with that of the message.
		if h := headerIn(p.header); i > 0 && !h.Empty() && h.set().header() {
			return h
		}
	}
	for _, p := range n.parts {
		if p.plain() {
			if h := findReturned(p.text()); !h.Empty() {
				return h
			}
		}
	}
	for _, p := range n.parts {
		if p.within("application/") {
			if h := p.returned(); !h.Empty() && h.set().header() {
				return h
			}
		}
	}
	return Header{}
}

// returnedPart looks for the header in the parts made for it.
func (n *notice) returnedPart() Header {
	for _, p := range n.parts {
		if p.is("message/rfc822") || p.is("message/global") || p.is("text/rfc822-headers") || p.is("message/global-headers") ||
			p.is("text/rfc822-header") || p.is("message/rfc822-headers") || p.is("text/rfc822") {
			if h := p.returned(); !h.Empty() {
				return h
			}
		}
	}
	return Header{}
}

// set says which fields the header has.
func (h Header) set() fieldSet {
	var s fieldSet
	for rest := h.raw; len(rest) > 0; {
		var f field
		f, rest = nextField(rest)
		s = s.with(f.name)
	}
	return s
}

// maxMarkers is how many lines that announce a header are believed in one text.
const maxMarkers = 10

// findReturned finds a returned header in plain text: behind a line that announces it, or else as
// lines that can be nothing else.
func findReturned(t []byte) Header {
	tried := 0
	for rest := t; len(rest) > 0 && tried < maxMarkers; {
		var line []byte
		line, rest = cutLine(rest)
		if isMarker(line) {
			tried++
			if h := headerAfter(rest); h.set().count() >= 2 {
				return h
			}
		}
	}
	return findBlock(t)
}

// isMarker says that the line announces the returned message.
func isMarker(line []byte) bool {
	line = bytes.TrimLeft(line, " \t-=*_>~#")
	if len(line) < 10 || len(line) > 200 {
		return false
	}
	for _, m := range &markers {
		if hasPrefixFold(line, m) {
			return true
		}
	}
	return false
}

// headerAfter reads the header that begins within the next lines, indented or quoted or not.
func headerAfter(t []byte) Header {
	for range 8 {
		line, rest := cutLine(t)
		bare := bytes.TrimLeft(line, " \t>|")
		if name, _, ok := splitField(bare); ok && (fieldSet(0).with(name) != 0 || hasPrefixFold(name, "x-")) {
			if indent := line[:len(line)-len(bare)]; len(indent) > 0 {
				t = outdent(t, indent)
			}
			return headerIn(t)
		}
		t = rest
	}
	return Header{}
}

// outdent takes the indent off the lines that have it, up to the first that is blank without it.
func outdent(t, indent []byte) []byte {
	var out []byte
	for len(t) > 0 {
		var line []byte
		line, t = cutLine(t)
		line, had := bytes.CutPrefix(line, indent)
		if !had || blank(line) {
			break
		}
		out = append(out, line...)
	}
	return out
}

// findBlock finds lines that only a header has, with nothing before them to say so.
func findBlock(t []byte) Header {
	start, seen := -1, fieldSet(0)
	for at := 0; at < len(t); {
		f, rest := nextField(t[at:])
		if f.name == nil {
			if start >= 0 && seen.header() {
				return Header{raw: t[start:at:at]}
			}
			start, seen = -1, 0
		} else {
			if start < 0 {
				start = at
			}
			seen = seen.with(f.name)
		}
		at = len(t) - len(rest)
	}
	if start >= 0 && seen.header() {
		return Header{raw: t[start:]}
	}
	return Header{}
}
