package sqlite

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// OpenRead opens the store in the folder dir to be read alone, whether a program uses it or
// none. Nothing in the folder is made, changed or moved, so that whose the files are stays as it
// is, whoever runs this. The error wraps fs.ErrNotExist where there is no store; a damaged
// one is an error and stays where it is. What is opened so cannot be written to.
func OpenRead(dir string) (*Store, error) {
	path, err := filepath.Abs(filepath.Join(dir, FileName))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("the store cannot be opened: %w", err)
	}
	db, err := sql.Open("sqlite", readDSN(path))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // a pragma belongs to the connection
	s := &Store{db: db, reading: db, path: path}
	s.version, err = s.check()
	if err == nil && (s.version < 1 || s.version > version) {
		err = fmt.Errorf("its schema is %d, and %d is the newest that can be read", s.version, version)
	}
	if err == nil && s.version > 1 {
		s.has, err = db.Prepare(hasRecord)
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// readDSN: a connection that may not write still makes the log and its index where they are
// missing. With both there it takes the index as it is; without, it must be told that it need not look for them.
func readDSN(path string) string {
	q := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(5000)", "query_only(1)"}}
	how := "readonly_shm"
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); err != nil {
			how = "immutable"
		}
	}
	q.Set(how, "1")
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	return u.String()
}
