package bounce

import "strings"

// Bounds of what one call looks at.
const (
	// MaxBytes is how many octets of a message are looked at; the caller need not give more.
	MaxBytes = 1 << 20
	// MaxDepth is how deep multiparts may be nested.
	MaxDepth = 10
	// MaxParts is how many parts are looked at, on all levels together.
	MaxParts = 100
	// MaxRecipients is how many recipients of a notice are told apart.
	MaxRecipients = 100
	// MaxAbout is how many Message-IDs a notice may name.
	MaxAbout = 4
)

// Kind is what a message is. The zero value is ordinary mail.
type Kind uint8

const (
	// Ordinary is mail that is none of the others, or that nothing tells from it.
	Ordinary Kind = iota
	// Bounce is a notice about the delivery of a message (RFC 3464, and what stands in its place). [Report.Action] says which.
	Bounce
	// Receipt tells that a recipient saw, or deleted, a message (RFC 8098).
	Receipt
	// AutoReply is an automatic reply, as of somebody on holiday (RFC 3834, and the older marks).
	AutoReply
	// Feedback is a report of abuse (RFC 5965).
	Feedback
	// Challenge asks the sender to prove that he is a person.
	Challenge
	// VirusNotice tells the alleged sender of a virus, or of content that was refused, about it.
	VirusNotice
)

var kindNames = [...]string{"ordinary", "bounce", "receipt", "auto-reply", "feedback", "challenge", "virus-notice"}

// String returns the word that stands in logs and headers.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Action is what a notice says about the delivery (RFC 3464, 2.3.3).
type Action uint8

const (
	// ActionUnknown is a notice that does not say.
	ActionUnknown Action = iota
	// Failed means that the server gave up.
	Failed
	// Delayed means that it keeps trying.
	Delayed
	// Delivered, Relayed and Expanded are notices of success, which are sent only when the sender asked (RFC 3461).
	Delivered
	Relayed
	Expanded
)

var actionNames = [...]string{"unknown", "failed", "delayed", "delivered", "relayed", "expanded"}

// String returns the word of RFC 3464.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "unknown"
}

// Success says that the message arrived, or went on to somewhere that sends no notices.
func (a Action) Success() bool { return a == Delivered || a == Relayed || a == Expanded }

// Recipient is what a notice says of one recipient. Any field may be empty.
type Recipient struct {
	// Original is the address as the sender wrote it, Final as the reporting server knew it (RFC 3464, 2.3.1 and 2.3.2).
	Original, Final string
	// Action is what became of the message for this recipient.
	Action Action
	// Status is the enhanced status, as in "5.1.1" (RFC 3463).
	Status string
	// Diagnostic is what the other server said, unfolded, at most 500 octets.
	Diagnostic string
}

// Address returns the original recipient if it is known, otherwise the final one.
func (r Recipient) Address() string {
	if r.Original != "" {
		return r.Original
	}
	return r.Final
}

// Report is what [Recognise] found. The zero value is ordinary mail of which nothing is known.
type Report struct {
	Kind   Kind
	Action Action
	// Clue is what told the kind; NoClue for ordinary mail.
	Clue Clue
	// Returned is the header of the message that the notice is about, if it came back. It refers to the octets that
	// Recognise was given, unless they were encoded.
	Returned Header
	// Recipients are those that the notice speaks of, in its order.
	Recipients []Recipient
	// About are the Message-IDs that its status parts name as those of the message it is about, as they are written, angle
	// brackets included (Original-Message-ID of RFC 8098, 3.2.5; servers write it into delivery reports as well). Of
	// receipts it is often all that they bring back.
	About []string
	// Cut says that the message reaches beyond a bound of this package, so that something may be missing. It is false
	// for ordinary mail. Whoever gave fewer octets than the message has must know so himself.
	Cut bool
}

// Automatic says that no person wrote the message as a letter of his own: whoever lets such mail out
// asks first whether its addressee ever wrote.
func (r Report) Automatic() bool { return r.Kind != Ordinary && r.Kind != Feedback }

// Recognise says what the message is. message is its header and as much of the body as the caller has, at
// most [MaxBytes] of which are looked at; lines may end in CRLF or LF. null says that the envelope sender is <>.
// It never fails: what cannot be read is ordinary.
func Recognise(message []byte, null bool) Report {
	cut := len(message) > MaxBytes
	if cut {
		message = message[:MaxBytes]
	}
	h, body := readHead(message)
	h.null = null
	if !h.suspicious() {
		return Report{}
	}
	return look(h, body, cut)
}

// look judges a message whose header gave reason to.
func look(h head, body []byte, cut bool) Report {
	w := walk(h.content, body)
	n := notice{head: &h, body: body, parts: w.parts, servers: openings[:]}
	var r Report
	r.Kind, r.Action, r.Clue = n.judge()
	r.Cut = (cut || w.cut) && r.Kind != Ordinary
	switch r.Kind {
	case AutoReply, Challenge, VirusNotice:
		r.Returned = n.returnedPart()
		if r.Clue == ClueListServer { // Mailman 3 lists the fields in its text
			r.Returned = n.returned()
		}
	case Receipt, Feedback:
		r.Returned = n.returned()
		r.Recipients = n.statusRecipients()
		r.About = n.about()
	case Bounce:
		r.Returned = n.returned()
		r.About = n.about()
		r.Recipients = n.recipients()
		r.Action = overall(r.Action, r.Recipients)
	}
	return r
}

// overall is the action of the message as a whole: the worst of its recipients', or else what the text says.
func overall(said Action, rs []Recipient) Action {
	best := ActionUnknown
	for _, r := range rs {
		if r.Action != ActionUnknown && (best == ActionUnknown || r.Action < best) {
			best = r.Action
		}
	}
	if best != ActionUnknown {
		return best
	}
	if said != ActionUnknown {
		return said
	}
	for _, r := range rs {
		switch {
		case strings.HasPrefix(r.Status, "5."):
			return Failed
		case strings.HasPrefix(r.Status, "2.") && best == ActionUnknown:
			best = Delivered
		}
	}
	return best
}
