package list

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// event is something that happened to a file of the watched folder.
type event struct {
	name string
	lost bool // events were lost, so anything may have happened
}

// watcher hears what happens in a file's folder. A nil watcher hears nothing.
type watcher struct {
	file *os.File
	ch   chan event
	end  chan struct{}
	once sync.Once
}

// heard: a writer has finished, or the name came or went. IN_CREATE and IN_MODIFY
// are left out: at that moment the file is not whole.
const heard = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// listen watches the folder, not the file: a file that replaces another by its name
// would be missed.
func listen(path string) (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), heard); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	// Non-blocking, so the runtime waits for it, and closing it ends a read.
	w := &watcher{file: os.NewFile(uintptr(fd), "inotify"), ch: make(chan event), end: make(chan struct{})}
	go w.run()
	return w, nil
}

func (w *watcher) events() <-chan event {
	if w == nil {
		return nil
	}
	return w.ch
}

func (w *watcher) close() {
	if w == nil {
		return
	}
	w.once.Do(func() {
		close(w.end)
		w.file.Close()
	})
}

// run hands the events on until the watcher is closed or its folder is gone.
func (w *watcher) run() {
	defer close(w.ch)
	buf := make([]byte, 16<<10)
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			return
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			mask := binary.NativeEndian.Uint32(b[4:])
			size := int(binary.NativeEndian.Uint32(b[12:]))
			name := b[unix.SizeofInotifyEvent:][:size]
			b = b[unix.SizeofInotifyEvent+size:]
			if mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_IGNORED) != 0 {
				return
			}
			e := event{name: string(bytes.TrimRight(name, "\x00")), lost: mask&unix.IN_Q_OVERFLOW != 0}
			select {
			case w.ch <- e:
			case <-w.end:
				return
			}
		}
	}
}
