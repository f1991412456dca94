package sqldir

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	lite "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// openSQLite opens a file for reading. It is never made, and need not be there yet.
func openSQLite(cfg *Config) (*engine, error) {
	u := cfg.URL
	switch {
	case u.Host != "" || u.User != nil || u.Opaque != "" || !strings.HasPrefix(u.Path, "/"):
		return nil, errors.New("the URL: a file is named by its whole path: sqlite:///var/lib/panel/mail.db")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the URL: behind the path there may be nothing: write %3F for a ? in it, and %23 for a #")
	case cfg.Password != "" || cfg.TLSConfig != nil:
		return nil, errors.New("a file has neither password nor certificate: leave them away")
	}
	dsn := url.URL{Scheme: "file", Path: u.Path, RawQuery: url.Values{
		"mode":    {"ro"},
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", cfg.Timeout.Milliseconds()), "query_only(1)"},
	}.Encode()}
	return &engine{
		dialect: sqlite, connector: &fileConnector{dsn: dsn.String(), driver: &lite.Driver{}}, file: u.Path, keep: true,
		again: sqliteAgain, odd: sqliteOdd, describe: describeSQLite,
	}, nil
}

// fileConnector opens the file.
type fileConnector struct {
	dsn    string
	driver *lite.Driver
}

func (f *fileConnector) Driver() driver.Driver { return f.driver }

func (f *fileConnector) Connect(context.Context) (driver.Conn, error) { return f.driver.Open(f.dsn) }

func sqliteCode(err error) int {
	var e *lite.Error
	if !errors.As(err, &e) {
		return -1
	}
	return e.Code() & 0xff
}

// sqliteAgain: what is read while a file takes the place of another may be of both.
func sqliteAgain(err error) bool {
	switch sqliteCode(err) {
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_IOERR, lib.SQLITE_PROTOCOL, lib.SQLITE_SCHEMA:
		return true
	}
	return false
}

// sqliteOdd says whether the error is about what was asked, and no other question need fail.
func sqliteOdd(err error) bool {
	c := sqliteCode(err)
	return c == lib.SQLITE_TOOBIG || c == lib.SQLITE_MISMATCH || c == lib.SQLITE_RANGE
}

func describeSQLite(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return err.Error() + " (it is not made)"
	}
	if sqliteCode(err) == lib.SQLITE_CANTOPEN {
		return err.Error() + ": the file, its folder and, while another program writes, its -wal and -shm must be readable"
	}
	return err.Error()
}
