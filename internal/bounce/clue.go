package bounce

// Clue is what told the kind of a message: a structure of the RFCs, or the habit of a server.
type Clue uint8

const (
	// NoClue belongs to ordinary mail.
	NoClue Clue = iota
	// ClueReport is a multipart/report whose report-type or part says of what (RFC 6522).
	ClueReport
	// ClueStatusPart is a message/delivery-status, or its like for receipts and feedback, in another multipart:
	// OpenSMTPD, McAfee.
	ClueStatusPart
	// ClueFailedRecipients is the field X-Failed-Recipients: Exim, Gmail, mail.ru.
	ClueFailedRecipients
	// ClueTopic is the field X-Amz-Sns-Message-Id with a notification in JSON: Amazon SES by way of SNS.
	ClueTopic
	// ClueExim and those below are the text with which these servers, and those that copied them, begin.
	ClueExim
	ClueQmail
	CluePostfix
	ClueSendmail
	ClueOpenSMTPD
	ClueDragonFly
	ClueExchange
	ClueDomino
	ClueGoogle
	ClueYahoo
	ClueJames
	ClueCourier
	ClueMessagingServer
	ClueMimecast
	ClueInterScan
	ClueCarrier // the gateways of mobile networks: EZweb, KDDI, Verizon, docomo
	ClueFilter  // appliances that filter: MailFoundry, m-FILTER, SurfControl, MessageLabs
	// ClueFml is the list server fml, which returns mail with no sign but its own field.
	ClueFml
	// ClueWords is a text that any server might write, from a mail system or the null sender.
	ClueWords
	// ClueSubject is the subject of a notice from a mail system or the null sender.
	ClueSubject
	// ClueDaemon is a mailer-daemon with the null sender, whatever it says.
	ClueDaemon
	// ClueReturned is the header of another message behind a text from a mail system or the null sender.
	ClueReturned
	// ClueHotmail is the field X-HmXmrOriginalRecipient in the message returned with a complaint: Hotmail, which writes
	// no feedback report.
	ClueHotmail
	// ClueAutoSubmitted is the field Auto-Submitted: auto-replied (RFC 3834, 5).
	ClueAutoSubmitted
	// ClueReplyField is one of the older fields of automatic replies, such as X-Autoreply or Precedence: auto_reply.
	ClueReplyField
	// ClueReplySubject is what programs for holidays put before the subject they answer.
	ClueReplySubject
	// ClueListServer is what Majordomo and Mailman answer to letters and commands.
	ClueListServer
	// ClueTicket is the acknowledgement of a system of tickets: RT, OTRS and its children.
	ClueTicket
	// ClueChallenge is a field or text of a program that challenges senders.
	ClueChallenge
	// ClueVirus is the text of a virus scanner that writes to the alleged sender.
	ClueVirus

	clues // how many there are
)

var clueNames = [clues]string{
	"none", "report", "status-part", "failed-recipients", "sns-topic", "exim", "qmail", "postfix", "sendmail", "opensmtpd", "dragonfly",
	"exchange", "domino", "google", "yahoo", "james", "courier", "messaging-server", "mimecast", "interscan", "carrier", "filter", "fml",
	"words", "subject", "daemon", "returned", "hotmail", "auto-submitted", "reply-field", "reply-subject", "list-server", "ticket", "challenge", "virus",
}

// String returns the name that stands in logs and in docs/design/bounces.md.
func (c Clue) String() string {
	if c < clues {
		return clueNames[c]
	}
	return "unknown"
}

// wording is something that a server writes at the beginning of its notices: in lower case, with single blanks.
type wording struct {
	clue   Clue
	action Action
	text   string
}

// openings are read from the top: what says more of the server stands before what many write.
var openings = [...]wording{
	{ClueQmail, Failed, "this is the qmail-send program"},
	{ClueQmail, Failed, "i'm afraid i wasn't able to deliver your message"},
	{ClueQmail, Failed, "i tried to deliver a bounce message to this address, but the bounce bounced"},
	{ClueOpenSMTPD, Failed, "this is the mailer-daemon, please do not reply"},
	{ClueDragonFly, Failed, "this is the dragonfly mail agent"},
	{CluePostfix, Failed, "this is the mail system at host"},
	{CluePostfix, Failed, "this is the postfix program at host"},
	{CluePostfix, Failed, "i'm sorry to have to inform you that"},
	{CluePostfix, Failed, "program at host"},
	{ClueExim, Delayed, "a message that you sent has not yet been delivered"},
	{ClueExim, Delayed, "a message that you have sent has not yet been delivered"},
	{ClueExim, Failed, "this message was created automatically by mail delivery software"},
	{ClueExim, Failed, "this message was created automatically by the mail system"},
	{ClueInterScan, Failed, "message from interscan"},
	{ClueMimecast, Failed, "an email that you attempted to send to the following address could not be delivered"},
	{ClueMessagingServer, Failed, "this report relates to a message you sent with the following header fields"},
	{ClueCourier, Failed, "this is a delivery status notification from"},
	{ClueSendmail, Failed, "the original message was received at"},
	{ClueSendmail, Failed, "the following addresses had"},
	{ClueSendmail, Failed, "transcript of session follows"},
	{ClueSendmail, Failed, "transcript of the session follows"},
	{ClueSendmail, Failed, "unsent message follows"},
	{ClueExchange, Failed, "did not reach the following recipient(s)"},
	{ClueExchange, Failed, "did not reach the following recipient:"},
	{ClueExchange, Failed, "your message did not reach some or all of the intended recipients"},
	{ClueExchange, Failed, "delivery has failed to these recipients"},
	{ClueExchange, Delayed, "delivery is delayed to these recipients"},
	{ClueExchange, Failed, "your message could not be delivered to the following recipients"},
	{ClueExchange, Failed, "diagnostic information for administrators"},
	{ClueDomino, Failed, "failure reasons ---"},
	{ClueDomino, Failed, "was not delivered to: "},
	{ClueGoogle, Delayed, "delivery to the following recipient has been delayed"},
	{ClueGoogle, Failed, "delivery to the following recipient failed permanently"},
	{ClueGoogle, Failed, "delivery to the following recipients failed permanently"},
	{ClueGoogle, Failed, "your message wasn't delivered to"},
	{ClueGoogle, Failed, "may not have permission to post messages to the group"},
	{ClueYahoo, Failed, "sorry, we were unable to deliver your message"},
	{ClueYahoo, Failed, "unable to deliver message to the following address"},
	{ClueJames, Failed, "this is the james mail server"},
	{ClueJames, Failed, "error message below: "},
	{ClueCarrier, Failed, "recipients was rejected by a remote mail server"},
	{ClueCarrier, Failed, "the user(s) account is "},
	{ClueCarrier, Failed, "could not be delivered to mobile"},
	{ClueCarrier, Failed, "your mail sent on: "},
	{ClueCarrier, Failed, "your mail attempted to be delivered on"},
	{ClueCarrier, Failed, "no valid recipients for this mm"},
	{ClueFilter, Failed, "unable to deliver message to: "},
	{ClueFilter, Failed, "your message could not be sent"},
	{ClueFilter, Failed, "-------server message"},
	{ClueFilter, Failed, "your mail message to the following address(es) could not be delivered"},
	{ClueFilter, Failed, "we had trouble delivering your message"},
}

// words are what any server might write. They are believed only of mail systems.
var words = [...]wording{
	{ClueWords, Delayed, "this is a warning message only"},
	{ClueWords, Failed, "delivery status notification"},
	{ClueWords, Delayed, "has been delayed"},
	{ClueWords, Delayed, "has not yet been delivered"},
	{ClueWords, Failed, "could not be delivered"},
	{ClueWords, Failed, "could not deliver"},
	{ClueWords, Failed, "not able to deliver"},
	{ClueWords, Failed, "has not been delivered"},
	{ClueWords, Failed, "couldn't be delivered"},
	{ClueWords, Failed, "can not be delivered"},
	{ClueWords, Failed, "cannot be delivered"},
	{ClueWords, Failed, "was not delivered"},
	{ClueWords, Failed, "wasn't delivered"},
	{ClueWords, Failed, "not be delivered to"},
	{ClueWords, Failed, "unable to deliver"},
	{ClueWords, Failed, "undeliverable"},
	{ClueWords, Failed, "delivery failed"},
	{ClueWords, Failed, "delivery failure"},
	{ClueWords, Failed, "failed to deliver"},
	{ClueWords, Failed, "error delivering your mail"},
	{ClueWords, Failed, "while attempting to deliver"},
	{ClueWords, Failed, "while trying to deliver"},
	{ClueWords, Failed, "user unknown"},
	{ClueWords, Failed, "unknown user"},
	{ClueWords, Failed, "was rejected by"},
	{ClueWords, Failed, "permanent error"},
}

// delays are what turns the notice of a failure into one of a delay, wherever in the beginning it stands.
var delays = [...]string{
	"this is a warning message only", "this is only a temporary failure report", "you do not need to resend", "you don't need to resend", "has been delayed",
	"has not yet been delivered", "could not be delivered yet", "message is delayed", "still being retried", "will continue to be retried", "do not need to re-send",
	"delivery attempts will continue to be made", "will keep trying", "will be retried", "message will be retried", "delays in delivering your message", "delivery is delayed",
}

// failureSubjects are the subjects of notices: anywhere in it, with ASCII in lower case (other letters are compared as
// they stand).
var failureSubjects = [...]wording{
	{ClueSubject, Delayed, "delayed"},
	{ClueSubject, Delayed, "(delay)"},
	{ClueSubject, Delayed, "warning: could not send message"},
	{ClueSubject, Delayed, "warning: message "},
	{ClueSubject, Delayed, "still being retried"},
	{ClueSubject, Delayed, "verzögert"},
	{ClueSubject, Delivered, "(relay)"},
	{ClueSubject, Delivered, "(success)"},
	{ClueSubject, Delivered, "successful mail delivery report"},
	{ClueSubject, Delivered, "return receipt"},
	{ClueSubject, Failed, "undeliver"},
	{ClueSubject, Failed, "returned mail"},
	{ClueSubject, Failed, "returning message to sender"},
	{ClueSubject, Failed, "returning to sender"},
	{ClueSubject, Failed, "bounce notification"},
	{ClueSubject, Failed, "mail returned to sender"},
	{ClueSubject, Failed, "delivery fail"},
	{ClueSubject, Failed, "delivery has failed"},
	{ClueSubject, Failed, "delivery error"},
	{ClueSubject, Failed, "failed delivery"},
	{ClueSubject, Failed, "failure delivery"},
	{ClueSubject, Failed, "failure notice"},
	{ClueSubject, Failed, "delivery status"},
	{ClueSubject, Failed, "delivery notification"},
	{ClueSubject, Failed, "delivery report"},
	{ClueSubject, Failed, "non-delivery"},
	{ClueSubject, Failed, "nondeliver"},
	{ClueSubject, Failed, "not be delivered"},
	{ClueSubject, Failed, "cannot be delivered"},
	{ClueSubject, Failed, "not delivered"},
	{ClueSubject, Failed, "mail system error"},
	{ClueSubject, Failed, "mail failure"},
	{ClueSubject, Failed, "error sending your mail"},
	{ClueSubject, Failed, "postmaster notify"},
	{ClueSubject, Failed, "postfix smtp server: errors from"},
	{ClueSubject, Failed, "unzustellbar"},
	{ClueSubject, Failed, "nicht zugestellt"},
	{ClueSubject, Failed, "nicht zustellbar"},
	{ClueSubject, Failed, "non remis"},
	{ClueSubject, Failed, "non distribu"},
	{ClueSubject, Failed, "non recapitabil"},
	{ClueSubject, Failed, "no se puede entregar"},
	{ClueSubject, Failed, "no entregado"},
	{ClueSubject, Failed, "não entregue"},
	{ClueSubject, Failed, "onbestelbaar"},
	{ClueSubject, Failed, "niet bezorgd"},
	{ClueSubject, Failed, "niedostarczon"},
	{ClueSubject, Failed, "недоставлен"},
	{ClueSubject, Failed, "Недоставлен"},
	{ClueSubject, Failed, "не доставлено"},
	{ClueSubject, Failed, "配信不能"},
	{ClueSubject, Failed, "配信できません"},
	{ClueSubject, Failed, "退信"},
}

// markers stand before a returned header in plain text: in lower case, at the beginning of a line that was stripped
// of dashes and the like.
var markers = [...]string{
	"below this line is a copy of the message",        // qmail, Yahoo
	"below this line is the original bounce",          // qmail, of a bounce that bounced
	"enclosed is a copy of the message",               // IndiMail, mail of qmail's kin
	"enclosed are the original headers",               // netqmail with a patch
	"undelivered message follows",                     // qmail-based
	"this is a copy of",                               // Exim
	"the header of the original message is following", // GMX, 1&1
	"the headers of the original message",
	"original message follows", // Sendmail, IMail, DragonFly
	"original message headers", // Exchange
	"original message header",
	"original message",                         // Gmail, Sendmail, m-FILTER
	"original mail as follows",                 // fml
	"message header follows",                   // Sendmail, Gmail
	"message headers follow",                   // DragonFly
	"unsent message follows",                   // Sendmail 5
	"returned message",                         // Notes
	"included is a copy of the message header", // MX Logic
	"below is a copy of the original message",  // OpenSMTPD
	"message text follows",                     // MMDF
	"message follows",
	"the message header",
	"headers of the message",
	"header of the message",
	"copy of the original message",
	"text of the message",
	"start of the message",
	"content-type: message/rfc822", // a border that was lost: Sun, KDDI, SurfControl
	"content-type: text/rfc822-headers",
}

// challenges and viruses are what those programs write, at the beginning or in the subject.
var challenges = [...]string{
	"verify#", "your message requires verification", "requires confirmation before delivery", "please confirm your message", "confirm that you are not a spammer",
	"challenge-response", "this one-time verification", "will be delivered once you confirm", "your email requires verification", "please verify yourself",
}

var viruses = [...]string{
	"virus found in", "virus detected", "a virus was found", "virus alert", "detected a virus in a message you", "e-mail viruses detected", "infected with a virus",
	"contained a virus", "virus in mail from you", "virus in your mail", "viruses detected in", "scanmail message: to sender", "norton antivirus detected",
	"symantec antivirus", "unsolicited bulk email, apparently from you", "banned contents from you", "contains a virus",
}
