// Package list is a recipient source that is a text file: one address or one
// local part a line, blank lines, and comments after "#" at the start of a line or
// after white space.
//
// A local part alone is a recipient of every domain whose chain has the list.
// Addresses are compared folded (mail.Address.Key), and a domain's aliases are
// turned into its name when the file is read.
//
// A changed file is taken over as a whole or not at all. It is noticed when a
// writer closes it or a new file is moved into its place (inotify), and by a look
// at it every half minute where there are no such events. A file that has a bad line,
// cannot be read, has vanished, or was cut to nothing leaves the last good set in
// force, and State says so. A file of no octets at all is never taken for a list, not
// even at the start: to have an empty list on purpose, leave a comment in it.
//
// # Limits
//
// The names themselves are not kept, only 128 bits of a hash of each, under a key
// that is new for each set: a wrong "exists" has a chance of one in 2^100 for a list of
// millions. A set takes about 20 octets an entry; while a changed file is read,
// the old and the new set are both in memory. A file that is written in place is
// read when its writer closes it; a writer that never does is noticed once the file
// has not changed for half a minute. Files that change through a symbolic link in another
// folder than their own are noticed by the look every half minute.
package list
