// Package scan finds out from outside what a mail server does with mail for recipients who do not
// exist, and says in plain words what that means and what to change on just that product.
//
// It asks for several addresses that nobody can have, in separate sessions and in changing order,
// beside the postmaster, whom every domain has; with the null sender and with an ordinary one. What
// was answered is kept as facts; a pure function makes a class of them, and another one advice, so
// that every sentence can be tested without a server. Where unknown recipients are accepted, one
// labelled message may be sent to one of them, and a listener of our own waits for its bounce.
//
// It is polite: one command at a time, one connection at a time, ten at most, a pause between them,
// and nothing but that one message is ever sent. Whether a server relays is asked by RCPT alone.
//
// # Limits
//
// One server is examined, of a domain the first MX that answers. What a server does may depend on who asks: it is
// judged as it looks from this machine. That no bounce came within the time is taken for "none comes". A server that
// takes any recipient of other domains at RCPT and refuses at DATA looks like an open relay. A product is recognised by
// its words, which can be changed. An internationalised local part is not tried.
package scan
