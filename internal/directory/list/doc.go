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
// With Options.Keep, what the text was compiled into is kept in a folder
// (directory/snapshot), and Open reads that instead, as long as the text has the
// same size, times and inode, the aliases are the same, and so is the program. A kept set that is
// missing, stale or damaged costs the time to read the text, and nothing else.
//
// # Limits
//
// The names themselves are not in memory, only 128 bits of a hash of each, under a key
// that is new each time a text is read: a wrong "exists" has a chance of one in 2^100 for a list of
// millions. A set takes some 18 octets an entry, outside the Go heap; while a changed file is read,
// the old and the new set are both in memory. A file that is written in place is
// read when its writer closes it; a writer that never does is noticed once the file
// has not changed for half a minute. Files that change through a symbolic link in another
// folder than their own are noticed by the look every half minute. A list that changed within the last
// few seconds is kept at the next of these looks, and one that is changed every half minute never is.
package list
