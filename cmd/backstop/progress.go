package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// onTerminal says whether people read w.
func onTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalWidth is how many characters a line of the terminal w has; 0 where w is none: what programs read is not broken.
func terminalWidth(w any) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// progress shows on a terminal, once work has taken a second, that it goes on:
// text and, where there is a count, how far (total 0: nobody knows of how many). On anything else it is silent. The
// function returned ends it and wipes its line.
func progress(w io.Writer, text string, count func() (done, total int)) (stop func()) {
	return progressLine(w, func(seconds int) string {
		if count == nil {
			return fmt.Sprintf("%s, %d s", text, seconds)
		}
		if done, total := count(); total > 0 {
			return fmt.Sprintf("%s: %d of %d", text, done, total)
		} else {
			return fmt.Sprintf("%s: %d", text, done)
		}
	})
}

// progressLine is progress with a line that the work itself writes: line is called each second, with how many have passed.
func progressLine(w io.Writer, line func(seconds int) string) (stop func()) {
	if !onTerminal(w) {
		return func() {}
	}
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for seconds := 1; ; seconds++ {
			select {
			case <-quit:
				if seconds > 1 {
					fmt.Fprint(w, "\r\x1b[K")
				}
				return
			case <-tick.C:
			}
			text := line(seconds)
			if width := terminalWidth(w); width > 1 && len(text) >= width { // a line that breaks cannot be wiped
				text = text[:width-1]
			}
			fmt.Fprintf(w, "\r\x1b[K%s", text)
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-gone })
}
