// Package snapshot is a set of recipients in one file: 128 bits of a keyed hash for
// each, some 18 octets an entry, checksummed from the first octet to the last.
//
// A Builder makes a Set, Set.Write writes it, crash-safe, and Open reads it
// back. Look-ups need no lock and allocate nothing. A set never changes: whoever
// replaces one by another holds it in an atomic.Pointer, and the memory of the old one goes back
// to the system when the last reader has let go of it.
//
// Open checks everything before it returns a set: a file that is not octet for octet
// as it was written gives an error, never a set that lacks somebody. The set is then in
// memory of its own, not mapped from the file, so what becomes of the file afterwards
// (overwritten, cut short, on a disk that fails) touches no reader. docs/design/snapshot.md
// has the figures behind that, and the file's form.
//
// # Limits
//
// The file says how many entries each domain has, and no name of a recipient can be read
// from it. But whoever has the file and its key can try names as fast as he can
// hash, millions a second; so can whoever has the memory of the gateway. A key that is kept apart
// protects a copy of the file, a backup for example, and nothing else.
//
// The checksum is against accidents, not against forgery: whoever can write the file can
// say who exists. A wrong "exists" has a chance of one in 2^100 for a set of
// millions. At most 10,000 domains are counted by name. While a set is
// replaced, both are in memory; while one is built with a wrong guess of its size, twice
// its table for a moment.
package snapshot
