package directory

import (
	"time"

	"backstop/internal/evidence"
)

// Remembered calls f for each address, given by its key, of which the source is
// remembered to have said that it exists, and when it said so, until f returns false. question is
// as in Member. They come in no order. What the store kept from before is waited for.
func (d *Directory) Remembered(source, question string, f func(key string, at time.Time) bool) {
	d.write.store.Lock() // is held as long as the store is read
	//lint:ignore SA2001 nothing is done but wait for it
	d.write.store.Unlock()
	key, on := keyOf(source, question), true
	d.cache.all(func(e *entry) {
		if on && e.source == key && e.standing == evidence.Exists {
			on = f(e.addr, time.Unix(0, e.at))
		}
	})
}
