package milter

import (
	"errors"
	"net/netip"
	"time"

	"backstop/internal/mail"
)

// Commands of the MTA.
const (
	cmdNegotiate = 'O' // SMFIC_OPTNEG
	cmdMacro     = 'D' // SMFIC_MACRO
	cmdConnect   = 'C'
	cmdHelo      = 'H'
	cmdMail      = 'M'
	cmdRcpt      = 'R'
	cmdData      = 'T'
	cmdHeader    = 'L'
	cmdEOH       = 'N'
	cmdBody      = 'B'
	cmdEOB       = 'E' // SMFIC_BODYEOB
	cmdAbort     = 'A'
	cmdQuit      = 'Q'
	cmdQuitNC    = 'K' // SMFIC_QUIT_NC
	cmdUnknown   = 'U'
)

// Answers of the filter.
const (
	ansContinue   = 'c'
	ansAccept     = 'a'
	ansReject     = 'r'
	ansTempFail   = 't'
	ansDiscard    = 'd'
	ansSkip       = 's'
	ansReply      = 'y' // SMFIR_REPLYCODE
	ansProgress   = 'p'
	ansShutdown   = '4' // SMFIR_SHUTDOWN: 421, and the client's connection is closed
	ansConnFail   = 'f' // SMFIR_CONN_FAIL
	ansAddRcpt    = '+'
	ansAddRcptPar = '2' // SMFIR_ADDRCPT_PAR
	ansDelRcpt    = '-'
	ansChangeFrom = 'e'
	ansAddHeader  = 'h'
	ansInsHeader  = 'i'
	ansChgHeader  = 'm'
	ansBody       = 'b' // SMFIR_REPLBODY
	ansQuarantine = 'q'
)

// MinVersion and MaxVersion are the versions of the protocol that are spoken here.
const (
	MinVersion = 2 // Sendmail 8.11
	MaxVersion = 6 // Sendmail 8.14
)

// ActionMask says what a filter may do (SMFIF_*).
type ActionMask uint32

const (
	AddHeader    ActionMask = 1 << iota // SMFIF_ADDHDRS: add and insert
	ChangeBody                          // SMFIF_CHGBODY
	AddRcpt                             // SMFIF_ADDRCPT
	DeleteRcpt                          // SMFIF_DELRCPT
	ChangeHeader                        // SMFIF_CHGHDRS: change and delete
	Quarantine                          // SMFIF_QUARANTINE
	ChangeFrom                          // SMFIF_CHGFROM
	AddRcptArgs                         // SMFIF_ADDRCPT_PAR
	SetMacros                           // SMFIF_SETSYMLIST: the filter says which macros it wants
	allActions   = SetMacros<<1 - 1
)

// StepMask says which steps of the protocol are left out or go otherwise (SMFIP_*).
type StepMask uint32

const (
	NoConnect       StepMask = 1 << iota // SMFIP_NOCONNECT and so on: the event is not sent
	NoHelo                               //
	NoMail                               //
	NoRcpt                               //
	NoBody                               //
	NoHeader                             //
	NoEOH                                //
	NRHeader                             // SMFIP_NR_HDR: a header field is not answered
	NoUnknown                            //
	NoData                               //
	Skip                                 // SMFIP_SKIP: the filter may skip the rest of a body
	RcptRejected                         // SMFIP_RCPT_REJ: recipients are sent that the MTA has refused
	NRConnect                            // SMFIP_NR_CONN and so on: the event is not answered
	NRHelo                               //
	NRMail                               //
	NRRcpt                               //
	NRData                               //
	NRUnknown                            //
	NREOH                                //
	NRBody                               //
	HeaderLeadSpace                      // SMFIP_HDR_LEADSPC: the blank behind the colon is part of a field's value
	allSteps        = HeaderLeadSpace<<1 - 1
)

// Stage is where a macro belongs (SMFIM_*), as it is numbered in the negotiation.
type Stage uint32

const (
	StageConnect Stage = iota
	StageHelo
	StageMail
	StageRcpt
	StageData
	StageEOM // the end of the message
	StageEOH // the end of its header
)

// Client is who speaks with the MTA, as CONNECT tells.
type Client struct {
	Name   string     // from the DNS, or "[192.0.2.1]", or what else the MTA says
	Family byte       // '4', '6', 'L' (a unix socket), 'U' (not known, or not understood)
	Addr   netip.Addr // of '4' and '6'
	Port   uint16     // of '4' and '6'; 0 where the MTA does not know it
	Path   string     // of 'L'
}

// Handler is what a connection's events are told to. Its methods are called one after another from the
// connection's goroutine. A response to an event that is not answered (NR…) is dropped, but for that of Message.
type Handler interface {
	// Connect is told first, once.
	Connect(c Client) Response
	// Helo may come again. Whatever transaction was open is over.
	Helo(name string) Response
	// Mail opens a transaction: from is without its angle brackets, "" is the null sender; args are as "SIZE=10".
	Mail(from string, args []string) Response
	// Rcpt adds a recipient, without its angle brackets.
	Rcpt(to string, args []string) Response
	// Data comes before each message, also where an older MTA has no such event: its refusal is then
	// the answer to the first part of the message that takes one.
	Data() Response
	// Unknown is told a command that the MTA does not know.
	Unknown(command string) Response
	// Message reads m until io.EOF. It may return before: then the rest is skipped, and the response sent at its end; one that
	// decides (any but Continue, and Accept with changes) is sent as soon as the protocol has a packet to answer. After ErrAborted the response is dropped.
	Message(m *Message) Response
	// Abort says that the transaction is over, for whatever reason. It is called once for each Mail.
	Abort()
	// Close says that the client's connection is over; behind it, nothing is called.
	Close()
}

// Action is what a filter wants the MTA to do.
type Action byte

const (
	Continue Action = iota // go on
	Accept                 // take the message (in Connect and Helo: all of the connection) and ask this filter no more
	Reject                 // 5xx in the MTA's words
	TempFail               // 4xx in the MTA's words
	Discard                // take the message and throw it away
	Reply                  // what Response.Reply says
)

// Response is the answer to an event. A Reply that is not 4xx or 5xx is no refusal, and is sent as TempFail.
type Response struct {
	Action  Action
	Reply   mail.Reply
	Changes *Changes // of Message only, with Continue and Accept
}

// Changes are made to a message at its end, in this order. What the MTA did not grant is left out; see Conn.Can.
type Changes struct {
	From       *Sender
	DeleteRcpt []string // without angle brackets, as Rcpt gave them
	AddRcpt    []Rcpt
	Edit       []HeaderEdit // sent from the last Nth to the first, so that numbers hold
	Insert     []Header     // to stand on top, in this order
	Add        []Header     // to stand at the bottom, in this order
	Quarantine string       // why; "" for no quarantine
}

// Sender is another sender for a message (SMFIR_CHGFROM).
type Sender struct {
	Address string // without angle brackets, "" for the null sender
	Args    string // ESMTP arguments, as "SIZE=10 RET=HDRS"
}

// Rcpt is one more recipient. Its arguments are left out where AddRcptArgs was not granted.
type Rcpt struct{ Address, Args string }

// Header is one field. Value is what stands behind the colon with its blank; a fold is CRLF (or LF) and a blank.
type Header struct{ Name, Value string }

// HeaderEdit changes or deletes one field.
type HeaderEdit struct {
	Name   string
	Nth    int    // 1 for the first field of that name, as the MTA sent them
	Value  string // as in Header
	Delete bool
}

// Config is what a Conn needs.
type Config struct {
	NewHandler func(*Conn) Handler          // called at each CONNECT
	Actions    ActionMask                   // wanted
	Steps      StepMask                     // wanted
	Macros     map[Stage]string             // names asked for, divided by blanks, where the MTA lets a filter choose; a stage that is not named stays as the MTA has it
	Timeout    time.Duration                // between two packets; 0: 2 hours, for an MTA may hold a connection that long
	Progress   time.Duration                // how often the MTA is told to wait while Message works behind the end of the body; 0: 10 s
	Panic      func(v any, stack []byte)    // told of a handler's panic, which ends its connection
	Malformed  func(peer string, err error) // told why a connection was ended; err wraps ErrMalformed
}

// ErrAborted is what Message.Read returns when the message ended before its end: ABORT, QUIT, a lost connection, a broken protocol.
var ErrAborted = errors.New("milter: the message was aborted")
