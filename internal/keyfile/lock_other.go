//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package keyfile

import "time"

// lock locks nothing: see the package's Limits.
func lock(string, time.Duration) (unlock func(), err error) { return func() {}, nil }
