// Package demo is what `backstop demo` needs beside the gateway itself: a small
// mail server with a few mailboxes to stand behind it, and a flood of backscatter
// to throw at it.
//
// # Limits
//
// For showing, not for keeping mail: a message that was answered 250 is in its
// files, but nothing forces the files onto the disk. There are no passwords, no
// TLS, and nobody can read the mail but through the files.
package demo
