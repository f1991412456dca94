// Package book reads and writes the files in which recipients travel from one mail
// system to another.
//
// Read takes the addresses out of a plain list, Sendmail's access and virtusertable
// texts, a Postfix map, LDIF (RFC 2849) and CSV (RFC 4180), line by line, and hands each to its
// caller. Which of these a file is, it finds out from the content and the name, or is told.
// A Book holds addresses, sorted and each once; Write puts one into a plain list, a Postfix
// map or an access text.
//
// Sources that read such forms themselves cut their lines in the same way (Pair, MapKey,
// WithoutComment, CutKind).
//
// What is not understood is an error with file and line, up to ten of them. What is
// understood and names no recipient (a refusal, a disabled account, a fax number) is passed over, counted
// and told in the Report: nothing vanishes silently.
//
// # Limits
//
// Text is UTF-8, or UTF-16 with a byte order mark as PowerShell writes it. Latin-1
// is not guessed at, and refused. A line may have 64 KiB, a CSV record 1 MiB; attributes of LDIF
// that are not asked for may have any length. A line for a whole domain names nobody and is passed
// over, as are user+*@domain and user++@domain, unless they are asked for (Options.Pattern). Where a
// virtusertable leads is not followed. Of LDIF, values in other files (attribute:<) and changes other than
// "add" are refused.
//
// A Book keeps some 40 octets an address. Read itself keeps one record.
//
// The Sendmail text that is written fits a Sendmail that takes the domain's mail and knows
// nobody else in it: subdomains that have no lines of their own are refused with the domain.
package book
