// Package guide tells what must be switched on in a mail server that stands behind
// Backstop, so that it says at RCPT who exists, and what Backstop's own configuration
// says of it.
//
// A guide is made for the domains that the configuration has, or for example.com. The README shows
// the latter; a test holds the two together.
//
// # Limits
//
// Exchange (2013 and later) and Domino (6 and later), after their vendors' documentation; nothing is
// looked at or changed there. The address of the gateway is only known when it is told.
package guide
