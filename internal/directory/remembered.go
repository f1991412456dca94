package directory

import (
	"strings"
	"time"

	"backstop/internal/evidence"
)

// Remembered calls f for each address, given by its key, of which the source is
// remembered to have said that it exists, and when it said so, until f returns false. They come
// in no order. What the store kept from before is waited for.
func (d *Directory) Remembered(source string, f func(key string, at time.Time) bool) {
	d.write.store.Lock() // is held as long as the store is read
	d.write.store.Unlock()
	on := true
	d.cache.all(func(e *entry) {
		name, _, _ := strings.Cut(e.source, questionMark)
		if on && name == source && e.standing == evidence.Exists {
			on = f(e.addr, time.Unix(0, e.at))
		}
	})
}
