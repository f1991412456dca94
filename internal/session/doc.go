// Package session is the heart: one mail transaction, from the connection to the
// last dot. A door tells it what the client said; it gathers evidence, asks the verdict,
// fetches the one piece that the verdict still lacks, and answers. Once a
// recipient is accepted it holds the downstream's hand until the downstream's own final
// answer, which becomes the sender's. At a door that delivers nothing (evidence.Door.Delivers) nobody's hand
// is held: the directory says who exists, and Judge says what the MTA is to change. Mail comes in from the world, or leaves from our own
// servers and users: which of the two (evidence.Case.Leaves) says who must prove what, and what is
// written into the header (edit.go, bounce.go, authenticate.go).
//
// # Limits
//
// A session belongs to one goroutine. It never keeps a message: what is not
// passed on while the sender waits is gone, and the sender is told to try again. A long
// message that is judged or signed as a whole is held meanwhile in a file without a name, and
// its sender waits longer; only as much of it is held as somebody must see. The header is taken up to 256 KB, and
// bounces are recognised in the first megabyte.
package session
