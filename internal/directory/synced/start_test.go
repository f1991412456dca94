package synced

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// Until a source is started the folder is another's, who may pull into it still.
func TestOpenLeavesTheFolderAlone(t *testing.T) {
	w := newWorld(t, newFake(deltas).fill(20))
	old := w.opened()
	stray := old.files.objects + ".new1"
	if err := os.WriteFile(stray, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := w.files()
	for _, identity := range []string{"another", "it"} {
		w.cfg.Identity = identity
		next, err := Open(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if identity == "it" { // the one before pulls once more, and then the next one is started
			w.dir.put("new", "new@example.com")
			w.sync(old, false)
			old.Close()
			next.Start()
			next.Start()
			defer next.Close()
			if r := w.sync(next, false); r.Full {
				t.Errorf("what was pulled meanwhile is pulled again: %+v", r)
			}
			w.knows(next)
			if _, err := os.Stat(stray); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("what a crash has left is there: %v", err)
			}
			continue
		}
		waits := make(chan error)
		go func() {
			_, err := next.Sync(t.Context(), false)
			waits <- err
		}()
		next.Close()
		next.Start()
		if err := <-waits; err != ErrClosed {
			t.Errorf("%v", err)
		}
		if fmt.Sprint(before) != fmt.Sprint(w.files()) {
			t.Error("opened and closed, a source has written")
		}
	}
}
