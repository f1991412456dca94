// Package route says where the mail of a domain goes: the relay URL and its
// options, and the table that finds a domain by its name or one of its aliases.
//
// # Limits
//
// Nothing here resolves a name or dials. A table never changes after it was
// made: a reload makes a new one. There are no wildcards and no default
// route: a domain is ours when it is written down, and not otherwise.
package route
