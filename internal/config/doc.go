// Package config turns one strict TOML file, or a few flags, into one checked
// value of typed fields.
//
// Each key stands in one place, as a row of its section's table: name, default
// as the file would write it, what it is for, and the check that stores it. The
// decoder, the hints for misspellings and docs/configuration.md all read those
// tables, so that a new section is a struct, its table, and one row in the table above it.
//
// All mistakes of a file are reported at once, each with line and column; only
// after a breach of TOML's own syntax nothing further is looked at.
//
// # Limits
//
// Loading opens the files that the configuration names (certificates, lists,
// secrets) but no socket, and asks no other server. Columns count characters, a tab
// being one. Paths are taken from the folder of the file that names them.
package config
