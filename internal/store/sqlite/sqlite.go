// Package sqlite keeps over a restart what the daemon knows, in one file of a
// folder, with SQLite: the directory's answers, the record of seen mail, the counts of
// bounces, and the moments at which something began.
//
// The answers can be asked for again, and without the rest mail still flows: bounces are proven by
// the other layers, and whoever waits for a time to pass waits anew. So a damaged
// file is moved aside and reported, and the daemon starts with an empty one. A
// file of a newer version of this program is not touched: Open fails. One of an older version is
// brought up to date, all or nothing.
//
// # Limits
//
// One process uses the folder; others may read beside it (OpenRead). Where none uses it, and
// one begins while another reads, that other may read half of the old and half of the new. The last second before a power cut may be lost
// (the write-ahead log is not synced at each commit), the file stays sound.
// Damage is looked for when the file is opened, in the record of seen mail only after it was met; until the next start
// a file damaged under the running daemon only fails to be written, or read. The folder must
// be on a file system with working locks and shared memory: not on NFS.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/record"
	"backstop/internal/tally"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// FileName is the name of the file inside the folder.
const FileName = "backstop.db"

// Numbers that stand in the file for evidence.Standing, whose own may change.
const (
	storedExists  = 1
	storedMissing = 2
)

// errDamaged: SQLite can read the file but finds it wrong.
var errDamaged = errors.New("the file is damaged")

// Store is a directory.Store, a record.Store, a tally.Store and record.Moments.
type Store struct {
	db      *sql.DB
	reading *sql.DB   // connections that see what was committed, and wait for no writer
	has     *sql.Stmt // hasRecord, read once: reading it takes as long as answering it; nil before version 2
	path    string
	version int // of the schema; older than the program's only where the file is read alone
}

var (
	_ directory.Store = (*Store)(nil)
	_ record.Store    = (*Store)(nil)
	_ record.Moments  = (*Store)(nil)
	_ tally.Store     = (*Store)(nil)
)

// Open opens the store in the folder dir, and makes folder and file where they
// are missing, for nobody else to read. A damaged file is moved aside, to its
// name with ".damaged-" and the time after it, and reported to log as an error.
func Open(dir string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the state folder cannot be made: %w", err)
	}
	path, err := filepath.Abs(filepath.Join(dir, FileName))
	if err != nil {
		return nil, err
	}
	s, err := open(path)
	if err == nil || !damaged(err) {
		return s, err
	}
	aside, moveErr := moveAside(path)
	if moveErr != nil {
		return nil, fmt.Errorf("%s is damaged (%w) and cannot be moved aside: %w", path, err, moveErr)
	}
	log.Error("the store was damaged; it was moved aside. Answers will be asked for again, and the record of seen mail begins anew",
		"file", path, "moved_to", aside, "error", err)
	return open(path)
}

func open(path string) (*Store, error) {
	// SQLite would make it readable for all; addresses are nobody else's business.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the store cannot be opened: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // one writer, and pragmas that belong to the connection
	s := &Store{db: db, path: path}
	if err := s.prepare(); err != nil {
		db.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.reading, err = sql.Open("sqlite", dsn(path, "query_only(1)")); err != nil {
		db.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.reading.SetMaxOpenConns(readers)
	s.reading.SetMaxIdleConns(readers)
	if s.has, err = s.reading.Prepare(hasRecord); err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// readers is how many look-ups are made at the same time.
const readers = 4

func dsn(path string, more ...string) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": append([]string{
		"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(NORMAL)",
	}, more...)}.Encode()}
	return u.String()
}

// check looks for damage, and says of which version the file is. The record of seen mail may be so
// large that reading it takes seconds, for which no mail would be taken. So it is looked at only when
// damage was met before.
func (s *Store) check() (v int, err error) {
	if err := s.db.QueryRow("PRAGMA user_version").Scan(&v); err != nil {
		return 0, err
	}
	checks := []string{"PRAGMA quick_check(answer)", "PRAGMA quick_check(tally)", "PRAGMA quick_check(moment)"}
	switch {
	case s.suspect() || v < 1 || v > version:
		checks = []string{"PRAGMA quick_check(1)"}
	case v == 1:
		checks = checks[:1]
	}
	for _, c := range checks {
		var said string
		if err := s.db.QueryRow(c).Scan(&said); err != nil {
			return 0, err
		}
		if said != "ok" {
			return 0, fmt.Errorf("%w: %s", errDamaged, said)
		}
	}
	return v, nil
}

// suspectSuffix makes the name of an empty file beside the store: damage was met, so that the next start looks at all of it.
const suspectSuffix = ".check"

func (s *Store) suspect() bool {
	_, err := os.Stat(s.path + suspectSuffix)
	return err == nil
}

// suspected leaves word for the next start. Where even that cannot be written there is nothing more to be done.
func (s *Store) suspected() {
	if s.reading != s.db { // else it is read alone, and the folder another's
		os.WriteFile(s.path+suspectSuffix, nil, 0o600)
	}
}

// cleared takes the word back.
func (s *Store) cleared() error {
	if err := os.Remove(s.path + suspectSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// damaged says whether the error is about the file's content.
func damaged(err error) bool {
	if errors.Is(err, errDamaged) {
		return true
	}
	var e *driver.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff // the rest of the number is detail
	return code == lib.SQLITE_CORRUPT || code == lib.SQLITE_NOTADB
}

// moveAside renames the file and those that are kept beside it.
func moveAside(path string) (string, error) {
	aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000000")
	for _, suffix := range []string{"-wal", "-shm", suspectSuffix, ""} {
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return aside, nil
}

// Close closes the file.
func (s *Store) Close() error { return errors.Join(s.reading.Close(), s.db.Close()) }

// Load calls f for each answer until f fails. The newest come first, so that a
// reader with little room keeps those.
func (s *Store) Load(ctx context.Context, f func(directory.Entry) error) error {
	rows, err := s.db.QueryContext(ctx, "SELECT source, address, standing, at, life, detail FROM answer ORDER BY at DESC")
	if err != nil {
		return s.failed("read", err)
	}
	defer rows.Close()
	source := "" // the same few names in every row: kept once
	for rows.Next() {
		var e directory.Entry
		var name sql.RawBytes
		var standing int
		var at, life int64
		if err := rows.Scan(&name, &e.Address, &standing, &at, &life, &e.Detail); err != nil {
			return s.failed("read", err)
		}
		if string(name) != source {
			source = string(name)
		}
		e.Source, e.At, e.Life = source, time.Unix(0, at), time.Duration(life)
		switch standing {
		case storedExists:
			e.Standing = evidence.Exists
		case storedMissing:
			e.Standing = evidence.Missing
		default:
			continue // nothing this version knows, so nothing it may use
		}
		if err := f(e); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return s.failed("read", err)
	}
	return nil
}

// Save writes the entries, all or none.
func (s *Store) Save(ctx context.Context, entries []directory.Entry) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.failed("written", err)
	}
	defer tx.Rollback()
	put, err := tx.PrepareContext(ctx, "INSERT OR REPLACE INTO answer (source, address, standing, at, life, detail) VALUES (?, ?, ?, ?, ?, ?)")
	if err != nil {
		return s.failed("written", err)
	}
	defer put.Close()
	for i := range entries {
		e := &entries[i]
		standing := storedMissing
		switch e.Standing {
		case evidence.Exists:
			standing = storedExists
		case evidence.Missing:
		default:
			return s.failed("written", fmt.Errorf("%q is no definite answer", e.Standing))
		}
		if err := ctx.Err(); err != nil {
			return s.failed("written", err)
		}
		// Without ctx: the driver starts a goroutine for each statement that can be cancelled.
		if _, err := put.Exec(e.Source, e.Address, standing, e.At.UnixNano(), int64(e.Life), e.Detail); err != nil {
			return s.failed("written", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return s.failed("written", err)
	}
	return nil
}

// Forget drops the answers that the pattern means.
func (s *Store) Forget(ctx context.Context, p directory.Pattern) error {
	where, arg := "1", []any{}
	switch {
	case p.Address != "":
		where, arg = "address = ?", []any{p.Address}
	case p.Domain != "":
		at := "@" + p.Domain
		where, arg = "substr(address, -length(?)) = ?", []any{at, at}
	}
	if _, err := s.db.ExecContext(ctx, "DELETE FROM answer WHERE "+where, arg...); err != nil {
		return s.failed("written", err)
	}
	return nil
}

// Expire drops the answers that were given before these moments.
func (s *Store) Expire(ctx context.Context, exists, missing time.Time) error {
	_, err := s.db.ExecContext(ctx, "DELETE FROM answer WHERE standing = ? AND at < ? OR standing <> ? AND at < ?",
		storedExists, exists.UnixNano(), storedExists, missing.UnixNano())
	if err != nil {
		return s.failed("written", err)
	}
	return nil
}

func (s *Store) failed(what string, err error) error {
	if damaged(err) {
		s.suspected()
		err = fmt.Errorf("%w; the next start of backstop will move it aside", err)
	}
	return fmt.Errorf("the store %s cannot be %s: %w", s.path, what, err)
}
