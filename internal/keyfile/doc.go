// Package keyfile holds the keys of tags and seals in a file of the state folder, keys.json, and follows
// its changes: whoever may write there makes keys, and the running daemon signs with them.
//
//	{"version": 1, "keys": [{"id": 3, "secret": "BASE64", "created": "2026-11-22T09:00:00Z", "signs_from": "2026-11-23T00:00:00Z"}]}
//
// signs_from is left out where a key verifies only, retired where it is in use; imported is true where another signer has the
// secret too. Reading is strict: what is not
// understood is an error with its line, a running daemon keeps the keys that it has, and nothing is written over it.
//
// Who changes the file holds a lock on its folder (flock), so that of two at once neither loses the other's key.
// It is replaced as a whole (safefile), readable by its owner alone, who is the owner of the folder: what root makes, the
// daemon reads.
//
// Numbers are used in turn, 1 to 9 and then 0, which Exim uses where it is told none. That of a retired key is used again after
// Lifetime: until then a tag of the old key would be taken for a forged one of the new.
//
// # Limits
//
// Secrets are not encrypted: the file's permissions protect them, and a copy of it is a copy of the keys. Several machines
// share keys by having the same file, and then only one may change it. Where a folder cannot be locked (some network file
// systems) two changes at the same moment may lose one. A file that is missing is not an error, and not followed before this
// File made it. The times of keys are those of this machine's clock.
package keyfile
