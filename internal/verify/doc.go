// Package verify finds out whether a mail server that stands beside Backstop asks it, and
// says so in plain words.
//
// It plays a short conversation with that server, as a stranger would: EHLO, MAIL with the
// null sender, RCPT of an address that nobody can have, RSET, the same for the postmaster, QUIT.
// What the server answered, and how far the daemon's own counters moved meanwhile, is judged by
// a pure function, so that every sentence can be tested.
//
// # Limits
//
// No DATA, no TLS, no login: port 25 takes strangers without. The counters are those of all
// mail: where other mail came through the same door in the same moment, "was asked" may be its
// doing. [socketmap] and [tcp_table] have one counter. Which of several doors that were asked refused is not known. Which list refused cannot be seen in a reply of Postfix's own.
package verify
