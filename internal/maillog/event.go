package maillog

// Kind is what a line says.
type Kind uint8

// What a line may say.
const (
	// NotUnderstood is a line whose form is not known.
	NotUnderstood Kind = iota
	// Elsewhere is a line of another program.
	Elsewhere
	// Nothing is a line of a mail server that says nothing of a message's way.
	Nothing
	// Received: a message came in. Client says from where, Sender is set where the line has it, Other where it is about another message (Exim).
	Received
	// Sender: the sender of a message, and its number of recipients where the line has it.
	Sender
	// Envelope: a recipient of a message was accepted (OpenSMTPD, Exchange).
	Envelope
	// Delivered: it was handed on for To.
	Delivered
	// Failed: it was given up for To.
	Failed
	// Deferred: it is tried again later.
	Deferred
	// Bounce: Other is a notice about ID to its sender, that it failed.
	Bounce
	// Delay is such a notice that it is late; Success that it was delivered.
	Delay
	Success
	// Postmaster is a copy of a notice for the postmaster, or the notice that a notice failed.
	Postmaster
	// Passed: the message goes on under the queue id Other.
	Passed
	// Expired: it was too long in the queue, and is returned for the recipients that were deferred.
	Expired
	// Ended: nothing more will be said about it.
	Ended
	// Refused: a recipient was refused during the session, by this server itself.
	Refused
	// Session: one begins (OpenSMTPD).
	Session
	// Header names the columns of what follows (Exchange).
	Header
)

// MTA is a kind of mail server.
type MTA uint8

// The kinds of mail server.
const (
	NoMTA MTA = iota
	Postfix
	Exim
	Sendmail
	OpenSMTPD
	Exchange
	NumMTAs
)

var mtaNames = [NumMTAs]string{"other", "Postfix", "Exim", "Sendmail", "OpenSMTPD", "Exchange"}

// String is its name as its makers write it.
func (m MTA) String() string {
	if m >= NumMTAs {
		return mtaNames[NoMTA]
	}
	return mtaNames[m]
}

// Client is where a message came from.
type Client uint8

// Where a message may come from.
const (
	ClientUnknown Client = iota
	ClientOutside        // a public address, and nobody logged in
	ClientInside         // a private address, or somebody who logged in
	ClientLocal          // a program on the machine
	ClientSelf           // the mail server itself
)

// Event is what a line says. Octets are those of the line.
type Event struct {
	Kind     Kind
	MTA      MTA
	At       int64  // seconds since 1970 of the wall clock in the Parser's zone
	Place    uint64 // of which machine and instance the queue id is: a hash
	ID       []byte // queue id, or what takes its place
	Other    []byte // the other queue id
	HasFrom  bool
	From     []byte // without angle brackets; with HasFrom, empty is the null sender
	To       []byte // without angle brackets. Sendmail and Exchange: a list, see Each
	Accepted []byte // the recipient as it was accepted, where that was another
	Count    int    // of recipients, 0: not said
	Client   Client
	Peer     []byte // the client's address
	Host     []byte // who was asked to take it: name or address; empty: nobody
	Addr     []byte // its address
	Port     []byte // and port, where the line has it
	Via      []byte // by which transport or mailer
	Local    bool   // into a mailbox of this machine, or by LMTP
	Dropped  bool   // and thrown away on purpose
	DSN      []byte // enhanced status code
	Text     []byte // what was said
	Stage    Stage
}

// Stage is in the answer to which command a recipient was refused.
type Stage uint8

// Stages.
const (
	StageUnknown Stage = iota
	StageRcpt          // RCPT
	StageData          // the message, or DATA
	StageOther         // before
)

// Each calls f for each address of a list as Sendmail and Exchange write them: "<a@example.com>,<b@example.com>" or "a@example.com;b@example.com".
func Each(list []byte, f func(address []byte)) {
	for len(list) > 0 {
		end, quoted := len(list), false
		for i, c := range list {
			if c == '"' {
				quoted = !quoted
			}
			if (c == ',' || c == ';') && !quoted {
				end = i
				break
			}
		}
		if one := unbracket(trim(list[:end])); len(one) > 0 {
			f(one)
		}
		list = list[min(end+1, len(list)):]
	}
}
