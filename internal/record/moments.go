package record

import (
	"context"
	"maps"
	"sync"
	"time"
)

// Moments remember when something began, over restarts: since when mail is tagged, for
// one, so that nobody refuses what lacks a tag before all mail under way bears one.
type Moments interface {
	// Moments are all that are known, by name.
	Moments(ctx context.Context) (map[string]time.Time, error)
	// Began writes down that name began at that time, whatever was known of it.
	Began(ctx context.Context, name string, at time.Time) error
	// Ended forgets it. One that is not known is no error.
	Ended(ctx context.Context, name string) error
}

// InMemory is for a program without a store: it forgets everything when that ends.
type InMemory struct {
	mu    sync.Mutex
	began map[string]time.Time
}

var _ Moments = (*InMemory)(nil)

// Moments never fails.
func (m *InMemory) Moments(context.Context) (map[string]time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]time.Time, len(m.began))
	maps.Copy(all, m.began)
	return all, nil
}

// Began never fails.
func (m *InMemory) Began(_ context.Context, name string, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.began == nil {
		m.began = map[string]time.Time{}
	}
	m.began[name] = at
	return nil
}

// Ended never fails.
func (m *InMemory) Ended(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.began, name)
	return nil
}
