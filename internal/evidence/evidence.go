// Package evidence holds all that may be known of one mail transaction, as
// closed types whose zero value means "not asked".
//
// A session fills a Case piece by piece; the verdict reads it and names the
// piece that it still lacks. Nothing else passes between the two, so a Case
// written down is enough to repeat a decision.
//
// # Limits
//
// Values only: no I/O, no clock, no opinion about what a finding means.
package evidence

import (
	"net/netip"
	"time"

	"backstop/internal/mail"
)

// Stage is the point of the SMTP conversation at which a decision falls.
type Stage uint8

const (
	StageConnect Stage = iota
	StageHelo
	StageMail
	StageRcpt
	StageData // DATA or BDAT up to the final reply
	stages
)

var stageNames = [stages]string{"connect", "helo", "mail", "rcpt", "data"}

func (s Stage) String() string { return stageNames[s] }

// NumStages is how many stages there are.
const NumStages = int(stages)

// Door is the way a transaction came in.
type Door uint8

const (
	DoorNone Door = iota
	DoorSMTP
	DoorOutbound
	DoorMilter
	DoorPolicy
	DoorSocketmap
	DoorHTTP
	DoorExplain // the explain command: nothing is delivered
	doors
)

var doorNames = [doors]string{"", "smtp", "outbound", "milter", "policy", "socketmap", "http", "explain"}

func (d Door) String() string { return doorNames[d] }

// NumDoors is how many doors there are, DoorNone included.
const NumDoors = int(doors)

// Delivers says whether this door hands mail to the downstream itself, so that
// the downstream's own answer to RCPT can be part of the evidence.
func (d Door) Delivers() bool { return d == DoorSMTP || d == DoorOutbound }

// Beside says that this door stands beside an MTA that takes the mail: it may serve domains of which
// nothing is known here, and decides about those alone.
func (d Door) Beside() bool { return d == DoorMilter || d == DoorPolicy || d == DoorHTTP }

// Mode says whether our own rules refuse or only watch.
type Mode uint8

const (
	Enforce Mode = iota
	Watch
)

func (m Mode) String() string {
	if m == Watch {
		return "watch"
	}
	return "enforce"
}

// Standing is what is known of a recipient.
type Standing uint8

const (
	NotAsked         Standing = iota
	Exists                    // somebody who must know says so
	Missing                   // somebody who must know says no
	Unavailable               // nobody who must know can be asked now
	LeftToDownstream          // only the downstream can say, and the transaction itself will ask it at RCPT
	standings
)

var standingNames = [standings]string{"not asked", "exists", "missing", "unavailable", "left to downstream"}

func (s Standing) String() string { return standingNames[s] }

// NumStandings is how many standings there are.
const NumStandings = int(standings)

// Directory is what the recipient sources said.
type Directory struct {
	Standing Standing
	Source   string        // who said so, as named in the configuration: "list:/etc/…", "callahead:smtp://…", "corp"
	Age      time.Duration // how old the answer is; 0: asked just now
	Stale    bool          // older than it should be: the source could not be asked again
	Blind    bool          // the source says yes to anybody, so its yes proves nothing
	Detail   string        // for the operator: the source's own words
	// Reply is what the operator wrote into the source for this recipient: permanent with
	// Missing, temporary with Unavailable; none is the usual one.
	Reply mail.Reply
}

// Word is what an operator's file says of a client or a sender.
type Word uint8

const (
	NothingSaid Word = iota // no file has a line for him, or none was asked
	Allowed                 // a line lets him in
	Refused                 // a line refuses him for good
	Deferred                // a line refuses him for now
	words
)

var wordNames = [words]string{"nothing said", "allowed", "refused", "deferred"}

func (w Word) String() string { return wordNames[w] }

// NumWords is how many words there are.
const NumWords = int(words)

// Policy is the line of an operator's file that decides about a client or a sender.
type Policy struct {
	Word   Word
	File   string // where it stands
	Line   int    // counted from 1; 0: not kept
	Detail string // for the operator: the line's value
	// Reply is the line's own: permanent with Refused, temporary with Deferred; none is the
	// usual one.
	Reply mail.Reply
}

// Outcome is how the downstream took one step.
type Outcome uint8

const (
	OutcomeNotAsked    Outcome = iota
	OutcomeAccepted            // 2xx (or 354)
	OutcomeRefused             // 5xx
	OutcomeDeferred            // 4xx
	OutcomeUnreachable         // no connection, or it was lost before the step could have had an effect
	OutcomeSilent              // the message's end was sent and no final answer came: it may or may not have been taken
	OutcomeUnsupported         // the downstream lacks an extension that this mail needs (Text says which)
	outcomes
)

var outcomeNames = [outcomes]string{"not asked", "accepted", "refused", "deferred", "unreachable", "silent", "unsupported"}

func (o Outcome) String() string { return outcomeNames[o] }

// Step is the command of the downstream conversation to which an answer belongs.
type Step uint8

const (
	StepNone Step = iota
	StepConnect
	StepBanner
	StepHello
	StepStartTLS
	StepAuth
	StepClient // XCLIENT, XFORWARD
	StepMail
	StepRcpt
	StepData    // DATA, before 354
	StepMessage // after the dot, or BDAT LAST
	steps
)

var stepNames = [steps]string{"", "connect", "banner", "hello", "starttls", "auth", "client", "mail", "rcpt", "data", "message"}

func (s Step) String() string { return stepNames[s] }

// Answer is one answer of a downstream. Its text is for the log; a peer sees it
// only where the configuration says so.
type Answer struct {
	Outcome     Outcome
	Step        Step
	Code        int         // the reply code, 0 where none came
	Status      mail.Status // the enhanced status, where there was one
	Text        string      // the reply's text on one line, or the error in our words
	Host        string      // which downstream
	NoSuchUser  bool        // a refusal at RCPT that says the recipient does not exist (FACTS: 5.1.x, bare 550/551/553, …)
	Unsupported Extension   // with OutcomeUnsupported: what is lacking
}

// NotReached says of an answer to a recipient that the question never got to the
// point where he was judged. A refusal of MAIL belongs here: it may mean the sender, and as
// often it means us ("client was not authenticated"), which is no fault of the sender's.
func (a *Answer) NotReached() bool {
	switch a.Outcome {
	case OutcomeUnreachable, OutcomeSilent:
		return true
	case OutcomeRefused, OutcomeDeferred:
		return a.Step < StepRcpt
	}
	return false
}

// Extension is something that a message may need and a downstream may lack.
type Extension uint8

const (
	NoExtension Extension = iota
	Ext8BitMIME
	ExtSMTPUTF8
	ExtBinaryMIME
	ExtSize // the downstream announced a limit below the size declared
)

// Client is who is talking to us.
type Client struct {
	Addr     netip.Addr
	Port     uint16
	Name     string // the name from DNS, "" where none is known
	Helo     string // as the client gave it
	Protocol string // SMTP, ESMTP, ESMTPS, UTF8SMTP … (RFC 3848, RFC 6531, 3.7.1)
	TLS      bool
	Login    string // who authenticated, "" for nobody
}

// Tristate is yes, no, or not asked.
type Tristate uint8

const (
	Unknown Tristate = iota
	No
	Yes
)

// Message is what is known of the message after its data was read.
type Message struct {
	Read     bool // the data was read to its end, or to the fault below
	Size     int64
	Received int   // Received headers counted
	OurName  bool  // a Received header says it went through this gateway already too often
	TooBig   bool  // longer than max_message_size
	LongHead bool  // its header is longer than anybody's is
	Fault    Fault // what was wrong with its lines
}

// Fault is a breach of the line rules inside the data.
type Fault uint8

const (
	NoFault Fault = iota
	FaultBareCR
	FaultBareLF
	FaultNUL
	FaultLongLine
)

// Case is all that is known about one stage of one transaction.
type Case struct {
	Stage Stage
	Door  Door
	Mode  Mode // of the daemon, or of the recipient's domain

	Client Client
	// Early says that the client talked before it was its turn.
	Early bool
	// TooMany says that the client has too many connections open.
	TooMany bool
	// Blocked says that the operator's configuration refuses this client.
	Blocked bool
	// Client and sender as the operator's files have them. Of the null sender none says anything.
	ClientPolicy, SenderPolicy Policy
	// Abuse says that the client made too many errors or sent too many commands.
	Abuse bool
	// Leaves says that the mail goes out from our own servers, to whatever domain.
	Leaves bool
	// NotListed says that the client may not use the outbound door.
	NotListed bool

	From      mail.ReversePath
	FromGiven bool // MAIL was accepted: a null From is the null sender, not "none yet"
	// Claim says whether the sender is in a domain of ours, and whether this client may say so.
	Claim Claim
	SPF   SPF
	To    mail.Address
	// Guards are those of the recipient's domain; at the message, of all recipients' domains.
	Guards Guards
	Tag    Tag // of the recipient
	// RcptCount is how many recipients the transaction has already, To excluded.
	RcptCount int
	// OurDomain says whether the recipient's domain is one that is configured.
	OurDomain Tristate
	// NoDomain: the recipient has no domain and is not <postmaster>.
	NoDomain bool
	// MustAccept: the recipient is postmaster or abuse, and may never be refused as missing.
	MustAccept bool
	// OtherRoute says whether the transaction is pinned to another downstream.
	OtherRoute Tristate

	Directory  Directory
	Downstream Answer // the answer to RCPT (or to what came before it)

	Message Message
	Bounce  Bounce
	DMARC   DMARC
	Final   Answer // the answer to the message
}

// Question names a piece of evidence.
type Question uint8

const (
	AskNothing Question = iota
	AskDirectory
	AskDownstreamRecipient
	AskDownstreamMessage
	AskSPF
	AskBounce   // what kind of automatic mail is this, and what does it prove
	AskDMARC    // of the header From
	AskRedirect // hand it to Bounce.BounceTo instead of its recipients
)

var questionNames = []string{"", "directory", "downstream recipient", "downstream message", "SPF", "bounce", "DMARC", "redirect"}

func (q Question) String() string { return questionNames[q] }
