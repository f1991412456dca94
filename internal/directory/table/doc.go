// Package table keeps millions of keys in little memory: a set of keys, or a map
// from keys to small numbers.
//
// # Limits
//
// The keys themselves are not kept, only 128 bits of a hash of each, under seeds
// that are new for each table: a wrong "found" has a chance of one in 2^100 for a table of
// millions, and the keys cannot be listed. A set takes 20 octets a key, a map 22.5,
// and 256 slots more. Nothing can be taken out. A map has at most 65,536 different values.
package table
