// Package postfix is the wire of three protocols by which Postfix asks others, both ends, and
// nothing else: the policy delegation (SMTPD_POLICY_README), socketmap_table(5), which Sendmail
// speaks too, and tcp_table(5). The servers turn octets into calls of a handler, the
// clients calls into octets. None knows what an address is.
//
// All three are a request and an answer, over and over, on one connection. Requests that
// arrive together are answered in one write. A client that shuts its side down behind its request
// (Exim's ${readsocket}) is answered all the same. What is malformed or too long ends the connection:
// where a request begins can no longer be known, and Postfix takes a lost connection for a temporary failure.
//
// # Limits
//
// Nothing is encrypted and nobody logs in: the listener decides who may come.
// Lines end with LF alone, as Postfix writes them. Policy requests have at most 256
// attributes, and of two with one name the first counts. Of tcp_table there is only get, for put is nowhere served.
// Of an answer that is too long for the protocol the text is cut, and data becomes a temporary failure.
package postfix
