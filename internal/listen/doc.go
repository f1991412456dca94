// Package listen opens the sockets that the doors serve: TCP, unix and those
// that systemd passes; and puts between socket and door what every door
// needs: the PROXY header, the limit on open connections, the count by client. Quiet is how
// often a door tells its operator the same.
//
// Wrap in this order, so that neither a slow PROXY header nor a full house can hold up Accept:
//
//	l, err := listen.Listen(spec)
//	l = listen.Limit(l, total, refuse)
//	l = listen.Proxy(l, trusted)
//
// A door whose protocol has no server of its own hands its connections to a
// Loop, which accepts, counts and drains them. (SMTP has one: smtp.Server.)
//
// # Limits
//
// A network that is trusted to send a PROXY header must send one: the protocol
// forbids guessing. The count by client takes an IPv6 client by its /64, since
// nobody has less. One systemd name is one socket.
package listen
