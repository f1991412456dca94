// Package directory answers one question: does this recipient exist?
//
// A domain names a Chain of sources. They are asked in order, and the first
// definite answer holds. What a source had to be asked for (a call-ahead, a
// database) is remembered: a yes for a day, a no for two minutes at first and
// twice as long each time it is repeated. Nothing that means "cannot tell" is
// ever remembered.
//
// How the answers of a chain come together:
//
//   - exists holds at once;
//   - missing holds at once, unless a source before it could not be asked: that
//     one might have known the recipient, so the answer is unavailable;
//   - a list that does not name the recipient says nothing as long as another
//     source is left to ask, and missing when it is the last word;
//   - the domain's own relay, where the caller is about to ask it anyway, is left
//     to the downstream: the real RCPT is the probe.
//
// How long an answer is used, measured from when it was given:
//
//	exists   fresh up to ExistsFor; in the last part of it (Refresh) a use asks
//	         again in the background. Stale up to MaxStale, only while the source
//	         cannot be asked.
//	missing  fresh up to its own life: MissingFor, doubled up to MissingMax each
//	         time it is found missing again. Stale for MissingMax more, only while
//	         the source cannot be asked.
//
// A definite answer replaces the one before it at once, whatever the two are.
//
// # Limits
//
// The cache is this machine's own. Answers that were given less than a second
// before a crash may be lost from the store, which costs a question. When the
// cache is full, answers about the missing are dropped before answers about the
// existing, and among these whoever was not asked for lately; the choice is made among
// a sample, so it is not exact. While a source is away a mailbox made after its
// last refusal stays refused for up to MissingMax.
package directory
