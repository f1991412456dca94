//go:build !linux

package safefile

import "os"

func toDisk(*os.File, int64, int64) error { return nil }
