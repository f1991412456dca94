package bounce

import "strings"

// How much of a notice's text its beginning is, in octets after white space was joined; for a sender who does
// not call himself automatic the server must begin with its own words at once.
const (
	openingSize = 2500
	firstWords  = 250
)

// notice is a message that gave reason to look closer.
type notice struct {
	head    *head
	body    []byte
	parts   []part
	servers []wording // what servers begin with: openings
	opening string    // beginning of the first text, normalised; read once
	subject string    // in lower case, without encoding

	back     Header // the returned header, once searched
	searched bool
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
	from := n.sender()
	if w := n.begins(from); w.clue != NoClue {
		if n.delayed() {
			w.action = Delayed
		}
		return Bounce, w.action, w.clue
	}
	if k, c := n.other(from); k != Ordinary {
		return k, ActionUnknown, c
	}
	return n.bySender(from)
}

// other looks for automatic mail that is no bounce. It comes behind what servers write, because their notices quote
// what was said to them, such as that a virus was found.
func (n *notice) other(from sender) (Kind, Clue) {
	switch {
	case n.head.challengeMark, (from == system || n.head.automatic()) && n.says(challenges[:]):
		return Challenge, ClueChallenge
	case from >= postmaster && n.says(viruses[:]):
		return VirusNotice, ClueVirus
	case n.head.complaint() && n.returnedPart().Get("X-HmXmrOriginalRecipient") != "":
		return Feedback, ClueHotmail
	}
	return n.reply()
}

// sender is how much a message says that no person stands behind it.
type sender uint8

const (
	person     sender = iota
	program           // a mailbox that nobody reads
	postmaster        // the mailbox of the postmaster, who may be a person
	system            // the null sender, or a mail system by its name
)

// sender says who wrote the message. The fields of a list make nobody a person: any server, or whoever forges a bounce, may
// write them. They count only against mailboxes that nobody reads, which send newsletters.
func (n *notice) sender() sender {
	h := n.head
	switch {
	case h.null:
		return system
	case h.daemon() && (h.automatic() || !h.postmaster()):
		return system
	case h.daemon():
		return postmaster
	case h.noReply() && !h.list:
		return program
	}
	return person
}

// byStructure looks for the parts and types of RFC 6522 and those built on it.
func (n *notice) byStructure() (Kind, Clue) {
	report := n.head.content.is("multipart/report")
	clue := ClueReport
	if !report && len(n.parts) > 0 && n.parts[0].report != "" {
		report = true // what a list or gateway wrapped
	}
	if !report {
		if n.sender() < postmaster && !n.head.automatic() {
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

// read fetches subject and beginning. What was returned is no part of the beginning: it is the words of somebody else.
func (n *notice) read() {
	n.subject = n.head.plainSubject()
	for i := range n.parts {
		if p := &n.parts[i]; p.plain() {
			t, h := p.search()
			if !h.Empty() {
				t = before(t, h.raw)
			}
			n.opening = normalise(t, false)
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
	if w := find(n.servers, n.opening); w.clue != NoClue {
		return w.action
	}
	if a := subjectAction(n.subject); a != ActionUnknown {
		return a
	}
	return find(words[:], n.opening).action
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

// begins looks for the words of a server. Who may be a person needs more to be believed, because people quote such
// words at each other: a program must return the message too, a postmaster too unless he begins with a server's own
// words, and anybody else must have the subject of a notice and those words at once.
func (n *notice) begins(from sender) wording {
	opening := n.opening
	subject := subjectAction(n.subject) != ActionUnknown
	second := from == system || from == postmaster && (subject || !n.returned().Empty())
	switch {
	case second, from == program && !n.returnedPart().Empty():
	case from == postmaster, subject && !n.head.list:
		opening = opening[:min(len(opening), firstWords)]
	default:
		return wording{}
	}
	if n.isReply() && !n.head.daemon() {
		return wording{} // what a person has his program say is his own affair
	}
	if w := find(n.servers, opening); w.clue != NoClue {
		return w
	}
	if !second || n.autoReplied() || n.says(challenges[:]) || n.says(viruses[:]) {
		return wording{}
	}
	return find(words[:], opening)
}

// autoReplied says that the message is marked as an answer, and not from a mail system: those use the mark too.
func (n *notice) autoReplied() bool {
	return n.isReply() || hasPrefixFold(n.head.autoSubmitted, "auto-replied") && !n.head.daemon()
}

// find returns the first wording that stands in the text.
func find(ws []wording, text string) wording {
	for i := range ws {
		if strings.Contains(text, ws[i].text) {
			return ws[i]
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
	case hasPrefixFold(h.autoSubmitted, "auto-replied") && (!h.daemon() || h.postmaster() && !h.null):
		return AutoReply, ClueAutoSubmitted
	case h.replyMark || hasPrefixFold(h.precedence, "auto_reply"):
		return AutoReply, ClueReplyField
	case h.replySubject():
		return AutoReply, ClueReplySubject
	}
	return n.answer()
}

// bySender judges what a mail system, or the null sender, wrote in words that nobody here knows. Of a postmaster
// there must be more.
func (n *notice) bySender(from sender) (Kind, Action, Clue) {
	a := subjectAction(n.subject)
	switch {
	case from < postmaster:
	case a != ActionUnknown && (from == system || !n.returned().Empty()):
		return Bounce, a, ClueSubject
	case from < system:
	case n.head.null && n.head.daemon() && !n.head.postmaster():
		return Bounce, ActionUnknown, ClueDaemon
	case !n.returned().Empty():
		return Bounce, ActionUnknown, ClueReturned
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

// postmaster says that the sender is a postmaster, who is sometimes a person.
func (h *head) postmaster() bool {
	return sameWord(localPart(h.from), "postmaster") && !h.daemonDisplay()
}
