// Package guide tells what must be switched on in another mail server: in one that stands behind
// Backstop, so that it says at RCPT who exists; in one that stands beside Backstop, so that it
// asks; and what Backstop's own configuration says of it.
//
// A guide is made for the domains and doors that the configuration has, or for example.com. README and
// docs show the latter; tests hold them together. Lines to paste are handed out unchanged
// (Step.File, Step.Lines), so that tests paste them into real servers.
//
// # Limits
//
// Exchange (2013 and later) and Domino (6 and later), after their vendors' documentation; Postfix (3.0 and later),
// Sendmail (8.14 and later) and Exim (4.89 and later), as Debian has them. Nothing is looked at or changed
// there: what a main.cf or sendmail.mc has already is not known. Neither is Backstop's address on another machine,
// unless it is told. A circle is seen where an address or name in the configuration is this machine's: names are not looked up.
package guide
