package rig

import (
	"path/filepath"
	"runtime"
	"testing"

	"backstop/internal/mailtest"
)

// Dialogues returns the dialogues of one of this package's collections:
// "conversation" (for every peer, bare or behind a gateway), "downstream" (a
// downstream that refuses, falls silent or dies at each step; for the mock
// behind a gateway, some only where the gateway has the tag "impatient": it waits
// no more than a moment for replies) or "sweep" (to be played by Sweep).
func Dialogues(t testing.TB, collection string) []*mailtest.Dialogue {
	t.Helper()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("this source file does not know where it is")
	}
	return mailtest.LoadDialogues(t, filepath.Join(filepath.Dir(here), "dialogues", collection, "*.dlg"))
}
