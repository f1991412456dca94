// Package watch holds a text file in memory, and takes it over again whenever it
// has changed.
//
// A changed file is taken over as a whole or not at all. It is noticed when a
// writer closes it or a new file is moved into its place (inotify), and by a look
// at it every half minute where there are no such events. A file that cannot be
// understood, cannot be read, has vanished, or was cut to nothing leaves the last
// good content in force, and State says so. A file of no octets at all is never
// taken, not even at the start: a copy that failed looks like that.
//
// With a Keeper, what the file was parsed into is kept once the file has settled, for the
// next start. A file that was read within three seconds of its last change may have changed
// again with the same times; its text is compared before anything is kept of it.
//
// # Limits
//
// While a changed file is read, the old and the new content are both in memory. A
// file that is written in place is read when its writer closes it; a writer that
// never does is noticed once the file has not changed for half a minute. Files that
// change through a symbolic link in another folder than their own are noticed by the
// look every half minute. Content that changed within the last few seconds is kept at the next
// of these looks, and what is changed every half minute never is.
package watch
