package sqlite

import "fmt"

// version is the schema's; SQLite keeps it as user_version.
const version = len(steps)

// steps lead from each version to the next. One that was released is never changed.
var steps = [...]string{answers, seen}

const answers = `
CREATE TABLE answer (
	source   TEXT    NOT NULL,
	address  TEXT    NOT NULL,
	standing INTEGER NOT NULL, -- 1 exists, 2 missing
	at       INTEGER NOT NULL, -- when it was given, nanoseconds since 1970
	life     INTEGER NOT NULL, -- how long a "missing" is fresh, nanoseconds
	detail   TEXT    NOT NULL,
	PRIMARY KEY (source, address)
) WITHOUT ROWID;
PRAGMA user_version = 1;`

// The day comes first in record, so that a day's writes stay together in the file, and an old day is one piece.
const seen = `
CREATE TABLE record (
	day  INTEGER NOT NULL, -- of UTC, since 1970
	kind INTEGER NOT NULL, -- record.Kind
	key  BLOB    NOT NULL,
	PRIMARY KEY (day, kind, key)
) WITHOUT ROWID;
CREATE TABLE tally (
	day       INTEGER NOT NULL,
	direction TEXT    NOT NULL,
	domain    TEXT    NOT NULL,
	server    TEXT    NOT NULL, -- "" for none
	verdict   TEXT    NOT NULL,
	kind      TEXT    NOT NULL,
	proof     TEXT    NOT NULL, -- tally.Entry.By
	sender    TEXT    NOT NULL,
	count     INTEGER NOT NULL,
	PRIMARY KEY (day, direction, domain, server, verdict, kind, proof, sender)
) WITHOUT ROWID;
CREATE TABLE moment (
	name TEXT    NOT NULL PRIMARY KEY,
	at   INTEGER NOT NULL -- nanoseconds since 1970
) WITHOUT ROWID;
PRAGMA user_version = 2;`

// prepare checks the file, and brings it to the schema of this version in one transaction.
func (s *Store) prepare() error {
	v, err := s.check()
	switch {
	case err != nil:
		return err
	case v > version:
		return fmt.Errorf("it was written by a newer version of backstop (schema %d, known is %d): use that version, or move the file away", v, version)
	}
	s.version = version
	if err := s.cleared(); err != nil {
		return err
	}
	if v == version {
		return nil
	}
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, step := range steps[max(v, 0):] {
		if _, err := tx.Exec(step); err != nil {
			return fmt.Errorf("the tables cannot be made: %w", err)
		}
	}
	return tx.Commit()
}
