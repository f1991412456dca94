// Package session is the heart: one mail transaction, from the connection to the
// last dot. A door tells it what the client said; it gathers evidence, asks the verdict,
// fetches the one piece that the verdict still lacks, and answers. Once a
// recipient is accepted it holds the downstream's hand until the downstream's own final
// answer, which becomes the sender's.
//
// # Limits
//
// A session belongs to one goroutine. It never keeps a message: what is not
// passed on while the sender waits is gone, and the sender is told to try again. The
// header is looked at as far as it stands in the first 64 KB.
package session
