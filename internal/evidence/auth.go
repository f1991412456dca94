package evidence

import "backstop/internal/mail"

// Result is what one check of a sender found, in the words of RFC 8601, 2.7.
type Result uint8

const (
	NotChecked Result = iota
	None              // there was nothing to check
	Pass
	Fail
	SoftFail
	Neutral
	TempError // could not be checked now
	PermError // cannot be checked: what was published, or the signature, is malformed
	results
)

var resultNames = [results]string{"not checked", "none", "pass", "fail", "softfail", "neutral", "temperror", "permerror"}

func (r Result) String() string { return resultNames[r] }

// NumResults is how many results there are.
const NumResults = int(results)

// SPF is what the sender's domain says of the client (RFC 7208).
type SPF struct {
	Result Result
	Helo   bool   // the HELO name was checked, because the sender is null (RFC 7208, 2.4)
	Domain string // whose record was asked
	Detail string // for the operator: why
}

// Signature is one DKIM signature of a message (RFC 6376).
type Signature struct {
	Result   Result
	Domain   string // d=
	Selector string // s=
	Detail   string // for the operator: why it did not pass
}

// PublishedPolicy is what a domain asks to be done with mail that fails DMARC (RFC 7489, 6.3).
type PublishedPolicy uint8

const (
	PolicyUnknown PublishedPolicy = iota // there is no record, or nobody asked
	PolicyNone
	PolicyQuarantine
	PolicyReject
)

var publishedNames = [...]string{"unknown", "none", "quarantine", "reject"}

func (p PublishedPolicy) String() string { return publishedNames[p] }

// DMARC is how the header From holds up (RFC 7489).
type DMARC struct {
	Result Result
	Domain string          // of the header From
	Policy PublishedPolicy // that applies to this message: of the subdomain where there is one, pct weighed
	// Aligned: DMARC passed, and the header From is one mailbox, the very address of the envelope sender, so that the
	// pass says something of him too. A domain in common says nothing: its users are many.
	Aligned bool
	Detail  string
}

// Check is what a domain wants done with what SPF or DMARC find.
type Check uint8

const (
	CheckOff    Check = iota // nobody looks
	CheckMark                // written into the header
	CheckRefuse              // refused inside the session
)

var checkNames = [...]string{"off", "mark", "refuse"}

func (c Check) String() string { return checkNames[c] }

// Judging is what a domain wants done with bounces.
type Judging uint8

const (
	JudgeOff Judging = iota
	JudgeWatch
	JudgeEnforce
)

var judgingNames = [...]string{"off", "watch", "enforce"}

func (j Judging) String() string { return judgingNames[j] }

// Tagging is what a domain wants done about BATV tags.
type Tagging uint8

const (
	TagOff     Tagging = iota
	TagSign            // senders are tagged
	TagWatch           // and bounces without a tag counted
	TagEnforce         // and refused
)

var taggingNames = [...]string{"off", "sign", "watch", "enforce"}

func (t Tagging) String() string { return taggingNames[t] }

// Claim is an envelope sender in one of our own domains.
type Claim struct {
	Domain string // the configured one; "": the sender is not in a domain of ours
	Refuse bool   // forged = "refuse" there
	// Exempt is why this client may claim it: "login", "[outbound] clients" (both whatever the sender is), or
	// the entry of senders; "": he may not.
	Exempt string
	// Vouched: by where he comes from, and not only by the name that he gives. Then nobody asks SPF or DMARC about him.
	Vouched bool
}

// TagStanding is what the tag of a recipient proves.
type TagStanding uint8

const (
	TagNotAsked TagStanding = iota
	TagNone                 // there is no tag
	TagValid
	TagExpired
	TagForged     // has the form of ours, and the digits are wrong
	TagUnknownKey // names a key that we do not have, or that is retired
	TagForeign    // a form that others use
	tagStandings
)

var tagStandingNames = [tagStandings]string{"not asked", "none", "valid", "expired", "forged", "of an unknown key", "foreign"}

func (t TagStanding) String() string { return tagStandingNames[t] }

// Tag is what was found on a recipient.
type Tag struct {
	Standing TagStanding
	SRS      bool         // an SRS address, not a BATV tag
	Address  mail.Address // who is meant: the recipient without it
}

// Proof is what shows that automatic mail answers mail that was really sent.
type Proof uint8

const (
	NoProof        Proof = iota
	ProofTag             // the recipient's BATV tag
	ProofSRS             // the recipient's SRS address
	ProofSeal            // our Backstop-Seal in the returned header
	ProofDKIM            // our DKIM signature in the returned header
	ProofMessageID       // the returned Message-ID is in the record of sent mail
	ProofOrigin          // outbound: our Backstop-Origin in the returned header, with SPF or DMARC passed
	ProofHeard           // outbound: the message answered is in the record of mail whose sender was proven
	proofs
)

var proofNames = [proofs]string{"", "tag", "srs", "seal", "dkim", "message-id", "origin", "heard"}

func (p Proof) String() string { return proofNames[p] }

// Bounce is what is known of a message as automatic mail.
type Bounce struct {
	Asked     bool   // the message was looked at
	Automatic bool   // it must prove what it answers
	Kind      string // "bounce", "receipt", "auto-reply", …; "ordinary" too
	Clue      string // by what the kind was known
	Proof     Proof
	Exempt    string // the entry of bounces_exempt that excuses it
	Untagged  bool   // the null sender writes to an address that should bear a tag, and bears no valid one
	// CannotTell: the record of mail could not be read, and nothing else proves it.
	CannotTell bool
	Detail     string // for the operator: what was found, and what was not
	// BounceTo takes what must not leave; zero: it is refused.
	BounceTo   mail.Address
	Redirected bool // it was handed to BounceTo
}

// Guards are what the domain in question wants of all this.
type Guards struct {
	SPF, DMARC Check
	Bounces    Judging
	Tags       Tagging
	// TagsDue: signing has run for the lifetime of a tag, so that one without can be refused.
	TagsDue bool
}

// Word is what was found of automatic mail, as header and log have it: "proven by=seal",
// "unproven", "exempt".
func (b *Bounce) Word() string {
	switch {
	case b.Exempt != "":
		return "exempt"
	case b.Proof != NoProof:
		return "proven by=" + b.Proof.String()
	}
	return "unproven"
}
