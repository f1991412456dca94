// Package relay holds the downstream's hand: one connection a transaction, from
// the first recipient that may exist to the final answer, which is passed on as it is.
//
// Connections are kept for a while and checked before they are used again. A
// transaction whose message was begun and not finished ends by closing its connection, so
// that nothing half-sent is ever delivered.
//
// Where all connections are in use and somebody waits, a transaction whose sender rests
// gives its own up, and ends with a temporary failure.
//
// # Limits
//
// Nothing is queued, retried or stored. An answer that does not come is a
// temporary failure; only where the message's end had been sent it is "silent", because the
// downstream may have taken it. TLS failures with tls=opportunistic are
// answered by plain text for a while, as that mode means, but never where we log in. A
// login that is refused for good is not tried again for a minute.
package relay
