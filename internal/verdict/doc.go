// Package verdict holds the rules: evidence in, reply and trail out, or the one
// piece of evidence that is still missing.
//
// The rules stand in a fixed order, which is the order of their table in
// rules.go and of the operator's documentation. Each is weighed once; the first that
// refuses or defers decides. A rule that lacks evidence says which, the session fetches
// it and asks again: so nothing is fetched that no rule needs.
//
// # Limits
//
// No I/O, no clock, no memory: the same case gives the same verdict today and
// from the journal a year later. Only a named rule can say 5xx, and no rule says
// it of something that it does not understand.
package verdict
