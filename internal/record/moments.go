package record

import (
	"context"
	"sync"
	"time"
)

// Moments remember when something began, over restarts: since when mail is tagged, for
// one, so that nobody refuses what lacks a tag before all mail under way bears one.
type Moments interface {
	// Since is when name began: now, where it was not known to run.
	Since(ctx context.Context, name string, now time.Time) (time.Time, error)
	// Ended forgets it: the next Since begins anew. One that is not known is no error.
	Ended(ctx context.Context, name string) error
}

// InMemory is for a program without a store: it forgets everything when that ends.
type InMemory struct {
	mu    sync.Mutex
	began map[string]time.Time
}

var _ Moments = (*InMemory)(nil)

// Since never fails.
func (m *InMemory) Since(_ context.Context, name string, now time.Time) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t, ok := m.began[name]; ok {
		return t, nil
	}
	if m.began == nil {
		m.began = map[string]time.Time{}
	}
	m.began[name] = now
	return now, nil
}

// Ended never fails.
func (m *InMemory) Ended(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.began, name)
	return nil
}
