package snapshot

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestSwapUnderReaders(t *testing.T) {
	const n, readers, swaps = 2000, 100, 40
	path := written(t, users(t, Key{}, n, n))
	var now atomic.Pointer[Set]
	open := func() {
		s, err := Open(path, Key{})
		if err != nil {
			t.Error(err)
			return
		}
		now.Store(s)
	}
	open()
	var wrong, asked atomic.Int64
	end := make(chan struct{})
	var all sync.WaitGroup
	for r := range readers {
		all.Go(func() {
			for i := r; ; i++ {
				select {
				case <-end:
					return
				default:
				}
				k := user(i % n)
				if s := now.Load(); !s.Has(k) || s.Has("no"+k) {
					wrong.Add(1)
				}
				asked.Add(1)
				runtime.Gosched() // or a hundred of them leave the writer no processor
			}
		})
	}
	for i := range swaps {
		if err := users(t, Key{}, n, i).Write(path); err != nil {
			t.Fatal(err)
		}
		open()
		runtime.GC() // the memory of the one before goes as early as it can
	}
	close(end)
	all.Wait()
	if wrong.Load() != 0 || asked.Load() == 0 {
		t.Errorf("%d of %d answers were wrong", wrong.Load(), asked.Load())
	}
}

// What becomes of the file does not reach those who look up.
func TestFileIsCutUnderAReader(t *testing.T) {
	const n = 50_000
	path := written(t, users(t, Key{}, n, n))
	s, err := Open(path, Key{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 500_000), 0); err != nil {
		t.Fatal(err)
	}
	holdsUsers(t, s, n)
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	holdsUsers(t, s, n)
}

const writerPath = "SNAPSHOT_TEST_WRITER"

// TestWriter is the process that TestKilledWriter kills, and nothing by itself. It writes sets of growing size until then.
func TestWriter(t *testing.T) {
	path := os.Getenv(writerPath)
	if path == "" {
		return // nobody waits to kill it
	}
	for n := 1; ; n++ {
		if err := users(t, Key{}, 20_000+n, 0).Write(path); err != nil {
			t.Fatal(err)
		}
		fmt.Println("written", 20_000+n)
	}
}

func TestKilledWriter(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "set")
	for kill := range 10 {
		cmd := exec.Command(self, "-test.run=^TestWriter$")
		cmd.Env = append(os.Environ(), writerPath+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, n := bufio.NewScanner(out), 0
		for range kill + 1 {
			if lines.Scan() {
				fmt.Sscanf(lines.Text(), "written %d", &n)
			}
		}
		if err := cmd.Process.Kill(); err != nil { // somewhere in the next one
			t.Fatal(err)
		}
		for lines.Scan() { // what it had still said
			fmt.Sscanf(lines.Text(), "written %d", &n)
		}
		_ = cmd.Wait() // it was killed, and says so
		s, err := Open(path, Key{})
		if err != nil {
			t.Fatalf("after kill %d: %v", kill, err)
		}
		if n == 0 || s.Len() != n && s.Len() != n+1 {
			t.Fatalf("after kill %d: %d entries, and %d were written last", kill, s.Len(), n)
		}
	}
}
