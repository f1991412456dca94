package bounce

import (
	"bytes"
	"strings"
)

// answering is what the header says of programs that answer mail with neither a mark of RFC 3834 nor one of the older fields.
// Whoever forges a sender makes them write to him.
type answering struct {
	to        []byte
	inReplyTo bool
	notice    bool // X-List-Administrivia: Mailman wrote it, and no member of the list
	rt        bool // fields of RT, and of OTRS and its children
	otrs      bool
	loop      bool // X-Loop, which OTRS writes into what nobody shall answer
}

// note keeps a field that one of these programs writes.
func (a *answering) note(f field) {
	value := bytes.TrimSpace(f.value)
	switch {
	case equalFold(f.name, "x-list-administrivia"):
		a.notice = equalFold(value, "yes")
	case equalFold(f.name, "x-rt-loop-prevention"):
		a.rt = true
	case equalFold(f.name, "x-otrs-loop"):
		a.otrs = true
	case equalFold(f.name, "x-powered-by"):
		a.otrs = a.otrs || hasPrefixFold(value, "otrs") || hasPrefixFold(value, "znuny") || hasPrefixFold(value, "otobo")
	case equalFold(f.name, "x-loop"):
		a.loop = true
	}
}

// answers says that the header is such that one of these programs may have answered.
func (h *head) answers() bool {
	return h.notice || h.majordomo() || h.ticket() || h.junk()
}

// majordomo says that the message tells what became of commands to Majordomo.
func (h *head) majordomo() bool {
	return hasPrefixFold(h.subject, "majordomo results") && sameWord(localPart(h.from), "majordomo")
}

// ticket says that a system of tickets acknowledges a letter. What its users write bears the same fields: RT's
// acknowledgements are told by their subject, those of OTRS by what they answer, which its other notices do not.
func (h *head) ticket() bool {
	if h.otrs && h.loop && h.inReplyTo {
		return true
	}
	if !h.rt || !bytes.HasPrefix(h.subject, []byte("[")) {
		return false
	}
	_, behind, _ := bytes.Cut(h.subject, []byte("]"))
	return hasPrefixFold(bytes.TrimSpace(behind), "autoreply:")
}

// junk says that the message answers one and calls itself of no worth: so do programs for holidays older than their marks.
// Newsletters and trackers write bulk or list.
func (h *head) junk() bool {
	return h.inReplyTo && !h.list && equalFold(h.precedence, "junk")
}

// answer looks for what these programs write. Of what Mailman writes only that counts which a letter made it write: it
// also welcomes members and tells its owners.
func (n *notice) answer() (Kind, Clue) {
	h := n.head
	switch {
	case h.majordomo(),
		h.notice && (strings.Contains(n.subject, "awaits moderator approval") || strings.Contains(n.subject, "results of your email commands") || n.sentBack()):
		return AutoReply, ClueListServer
	case h.ticket():
		return AutoReply, ClueTicket
	case h.junk():
		return AutoReply, ClueReplyField
	}
	return Ordinary, NoClue
}

// sentBack says that the message returns a letter to who is in its From.
func (n *notice) sentBack() bool {
	to := mailboxOf(n.head.to)
	return len(to) > 0 && equalFold(mailboxOf([]byte(n.returnedPart().Get("From"))), string(to))
}

// mailboxOf returns the address of a field with one mailbox in it, unchecked.
func mailboxOf(v []byte) []byte {
	if i := bytes.LastIndexByte(v, '<'); i >= 0 {
		v, _, _ = bytes.Cut(v[i+1:], []byte(">"))
	} else if i := bytes.IndexAny(bytes.TrimSpace(v), " ("); i >= 0 {
		v = bytes.TrimSpace(v)[:i]
	}
	return bytes.TrimSpace(v)
}
