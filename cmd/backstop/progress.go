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
			if count == nil {
				fmt.Fprintf(w, "\r\x1b[K%s, %d s", text, seconds)
			} else if done, total := count(); total > 0 {
				fmt.Fprintf(w, "\r\x1b[K%s: %d of %d", text, done, total)
			} else {
				fmt.Fprintf(w, "\r\x1b[K%s: %d", text, done)
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-gone })
}
