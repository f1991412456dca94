package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"backstop/internal/record"
	"backstop/internal/tally"
)

// expireChunk is how many records are deleted at once, so that others get their turn between two.
const expireChunk = 10_000

// hasRecord goes from day to day, as many as there are, and looks into each.
const hasRecord = `
WITH RECURSIVE days(day) AS (
	SELECT min(day) FROM record WHERE day >= ?1
	UNION ALL
	SELECT (SELECT min(day) FROM record WHERE day > days.day) FROM days WHERE days.day IS NOT NULL
)
SELECT EXISTS (SELECT 1 FROM days CROSS JOIN record ON record.day = days.day AND kind = ?2 AND key = ?3 WHERE days.day IS NOT NULL)`

// SaveRecords writes the entries, all or none. Of their time the day is kept.
func (s *Store) SaveRecords(ctx context.Context, entries []record.Entry) error {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b record.Entry) int { // neighbours in the file after each other
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), bytes.Compare(a.Key[:], b.Key[:]))
	})
	return s.change(ctx, "INSERT OR IGNORE INTO record (day, kind, key) VALUES (?, ?, ?)", len(entries), func(i int) []any {
		e := &entries[i]
		return []any{tally.DayOf(e.At), int(e.Kind), e.Key[:]}
	})
}

// change runs one statement n times in a transaction.
func (s *Store) change(ctx context.Context, statement string, n int, args func(int) []any) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.failed("written", err)
	}
	defer tx.Rollback()
	put, err := tx.PrepareContext(ctx, statement)
	if err != nil {
		return s.failed("written", err)
	}
	defer put.Close()
	for i := range n {
		if err := ctx.Err(); err != nil {
			return s.failed("written", err)
		}
		// Without ctx: the driver starts a goroutine for each statement that can be cancelled.
		if _, err := put.Exec(args(i)...); err != nil {
			return s.failed("written", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return s.failed("written", err)
	}
	return nil
}

// HasRecord says whether there is a record of that day or a later one.
func (s *Store) HasRecord(ctx context.Context, kind record.Kind, key [16]byte, since time.Time) (bool, error) {
	if s.has == nil {
		return false, nil
	}
	var found bool
	if err := s.has.QueryRowContext(ctx, tally.DayOf(since), int(kind), key[:]).Scan(&found); err != nil {
		return false, s.failed("read", err)
	}
	return found, nil
}

// ExpireRecords drops the records of the days before that one, some at a time.
func (s *Store) ExpireRecords(ctx context.Context, before time.Time) error {
	for {
		res, err := s.db.ExecContext(ctx, `DELETE FROM record WHERE (day, kind, key) IN
			(SELECT day, kind, key FROM record WHERE day < ? LIMIT ?)`, tally.DayOf(before), expireChunk)
		if err != nil {
			return s.failed("written", err)
		}
		if n, err := res.RowsAffected(); err != nil || n < expireChunk {
			return err
		}
	}
}

// AddTally adds to the counts of these lines, all or none.
func (s *Store) AddTally(ctx context.Context, lines []tally.Line) error {
	const add = `INSERT INTO tally (day, direction, domain, server, verdict, kind, proof, sender, count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET count = count + excluded.count`
	return s.change(ctx, add, len(lines), func(i int) []any {
		l := &lines[i]
		server := ""
		if l.Server.IsValid() {
			server = l.Server.String()
		}
		return []any{int(l.Day), l.Direction, l.Domain, server, l.Verdict, l.Kind, l.By, l.Sender, int64(l.Count)}
	})
}

// LoadTally calls f for each line of that day and later, until f fails.
func (s *Store) LoadTally(ctx context.Context, since tally.Day, f func(tally.Line) error) error {
	if s.version < 2 {
		return nil
	}
	rows, err := s.reading.QueryContext(ctx, "SELECT day, direction, domain, server, verdict, kind, proof, sender, count FROM tally WHERE day >= ?", int(since))
	if err != nil {
		return s.failed("read", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l tally.Line
		var server string
		if err := rows.Scan(&l.Day, &l.Direction, &l.Domain, &server, &l.Verdict, &l.Kind, &l.By, &l.Sender, &l.Count); err != nil {
			return s.failed("read", err)
		}
		l.Server, _ = netip.ParseAddr(server) // what is no address counts all the same, without one
		if err := f(l); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return s.failed("read", err)
	}
	return nil
}

// ExpireTally drops the days before that one.
func (s *Store) ExpireTally(ctx context.Context, before tally.Day) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM tally WHERE day < ?", int(before)); err != nil {
		return s.failed("written", err)
	}
	return nil
}

// Moments are all that are known, by name. A file of an older version has none.
func (s *Store) Moments(ctx context.Context) (map[string]time.Time, error) {
	all := map[string]time.Time{}
	if s.version < 2 {
		return all, nil
	}
	rows, err := s.reading.QueryContext(ctx, "SELECT name, at FROM moment")
	if err != nil {
		return nil, s.failed("read", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var at int64
		if err := rows.Scan(&name, &at); err != nil {
			return nil, s.failed("read", err)
		}
		all[name] = time.Unix(0, at)
	}
	if err := rows.Err(); err != nil {
		return nil, s.failed("read", err)
	}
	return all, nil
}

// Began writes down that name began at that time, whatever was known of it.
func (s *Store) Began(ctx context.Context, name string, at time.Time) error {
	if _, err := s.db.ExecContext(ctx, "INSERT OR REPLACE INTO moment (name, at) VALUES (?, ?)", name, at.UnixNano()); err != nil {
		return s.failed("written", err)
	}
	return nil
}

// Ended forgets when name began.
func (s *Store) Ended(ctx context.Context, name string) error {
	if _, err := s.db.ExecContext(ctx, "DELETE FROM moment WHERE name = ?", name); err != nil {
		return s.failed("written", err)
	}
	return nil
}
