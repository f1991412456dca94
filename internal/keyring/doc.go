// Package keyring holds the keys with which tags and seals are made: which one
// signs at a moment, and which ones still prove what they signed.
//
// A new key signs from a day on; the one before it goes on verifying until it is
// retired, so that what is under way when keys change can come home. The number of a key
// is one digit, since a BATV tag has room for no more; ten keys are used in turn.
//
// # Limits
//
// Values only: no file, no clock, no random octets. Whoever reads keys from somewhere
// gives them to New, and a Ring never changes. That a key retires too early cannot be told
// from a key that has leaked, so New allows it: ask Ring.Needed first.
package keyring
