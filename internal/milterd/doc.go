// Package milterd is the milter door: it turns the events that internal/milter hears from an MTA into
// those of a session, and the session's verdicts and changes into answers.
//
// Mail of a client in the networks of Config.Internal, of the MTA's own host, and of whoever logged in at the MTA
// leaves; all other mail comes in. A reload holds for the next connection of a client, and for the next message
// of one that is open: an MTA keeps connections for long.
//
// What is refused at the connection is said at MAIL: of an answer to CONNECT an MTA may show
// its own words instead (Sendmail), and make something permanent of a temporary one.
//
// # Limits
//
// It knows nothing of rules and nothing of packets. Connections of one client are not counted, and nobody talks too
// early here: the MTA sees to both. A change that the MTA does not let its milters make is left out, with a warning a minute at
// most; only a message that would go to the wrong people without it is put off.
package milterd
