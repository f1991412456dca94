// Package table keeps millions of keys in little memory, each with a small number.
//
// # Limits
//
// The keys themselves are not kept, only 128 bits of a hash of each, under seeds
// that are new for each table: a wrong "found" has a chance of one in 2^100 for a table of
// millions, and the keys cannot be listed. A key takes 22.5 octets, 5 more in a
// table that has notes, and a table 256 slots more. Nothing can be taken out. There are at most 65,536 different values.
package table
