package sqldir

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

// pgConnector makes database/sql's connections of pgconn's: pgx's own adapter brings its
// pool and its table of types with it, and what is asked here needs none of these.
//
// A pooler before the server (PgBouncer) may refuse settings that it does not know: then the one
// that makes sessions read-only is left away. It cannot be set by a command
// instead, for a pooler hands the session on to others, with what was set.
type pgConnector struct {
	usual, plain *pgconn.Config
	refused      atomic.Bool
}

func newPGConnector(conf *pgconn.Config) *pgConnector {
	p := &pgConnector{usual: conf, plain: conf.Copy()}
	delete(p.plain.RuntimeParams, readOnly)
	return p
}

// Driver is wanted by database/sql's interface, and used by nobody.
func (p *pgConnector) Driver() driver.Driver { return nil }

func (p *pgConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conf := p.usual
	if p.refused.Load() {
		conf = p.plain
	}
	c, err := pgconn.ConnectConfig(ctx, conf)
	var pg *pgconn.PgError
	if err != nil && conf == p.usual && errors.As(err, &pg) && strings.Contains(pg.Message, readOnly) {
		if c, err = pgconn.ConnectConfig(ctx, p.plain); err == nil {
			p.refused.Store(true)
		}
	}
	if err != nil {
		return nil, err
	}
	return &pgSession{c}, nil
}

// pgSession is a session at a server.
type pgSession struct{ c *pgconn.PgConn }

var errNoStatements = errors.New("internal error: statements are not prepared here, and nothing is written")

func (s *pgSession) Prepare(string) (driver.Stmt, error) { return nil, errNoStatements }
func (s *pgSession) PrepareContext(context.Context, string) (driver.Stmt, error) {
	return nil, errNoStatements
}
func (s *pgSession) Begin() (driver.Tx, error) { return nil, errNoStatements }
func (s *pgSession) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return nil, errNoStatements
}

// Close says goodbye and does not wait for an answer.
func (s *pgSession) Close() error { return s.c.Close(context.Background()) }

// IsValid says whether it can be used further: not in mid-answer.
func (s *pgSession) IsValid() bool { return !s.c.IsClosed() && !s.c.IsBusy() }

func (s *pgSession) ResetSession(context.Context) error {
	if !s.IsValid() {
		return driver.ErrBadConn
	}
	return nil
}

// QueryContext asks with the unnamed statement: parsed, bound and run in one round trip. The
// server finds the types of the parameters, and nothing stays there that a pooler
// could lose, or a changed table could make wrong.
func (s *pgSession) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	params := make([][]byte, len(args))
	for i, a := range args {
		text, ok := a.Value.(string)
		if !ok {
			return nil, fmt.Errorf("internal error: a parameter of type %T", a.Value)
		}
		params[i] = []byte(text)
	}
	r := &pgRows{reader: s.c.ExecParams(ctx, query, params, nil, nil, nil)}
	// The first row is fetched, for errors show here; its columns are there then, too.
	r.more = r.reader.NextRow()
	if !r.more {
		if err := r.end(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// pgRows is an answer, read as it comes. All values come as text.
type pgRows struct {
	reader *pgconn.ResultReader
	more   bool // a row is there
	ended  bool
	err    error
}

// The types whose values mean more than that they are there: pg_type.oid of PostgreSQL.
var pgTypes = map[uint32]string{
	16: "BOOL", 20: "BIGINT", 21: "SMALLINT", 23: "INT", 26: "BIGINT",
	700: "NUMERIC", 701: "NUMERIC", 790: "MONEY", 1560: "BIT", 1562: "VARBIT", 1700: "NUMERIC",
}

func (r *pgRows) Columns() []string {
	fields := r.reader.FieldDescriptions()
	names := make([]string, len(fields))
	for i := range fields {
		names[i] = fields[i].Name
	}
	return names
}

// ColumnTypeDatabaseTypeName tells numbers from texts.
func (r *pgRows) ColumnTypeDatabaseTypeName(i int) string {
	return pgTypes[r.reader.FieldDescriptions()[i].DataTypeOID]
}

func (r *pgRows) Next(dest []driver.Value) error {
	if !r.more {
		if err := r.end(); err != nil {
			return err
		}
		return io.EOF
	}
	for i, v := range r.reader.Values() {
		switch {
		case v == nil:
			dest[i] = nil
		case r.ColumnTypeDatabaseTypeName(i) == "BOOL":
			dest[i] = string(v) == "t"
		default:
			dest[i] = string(v)
		}
	}
	r.more = r.reader.NextRow()
	return nil
}

// end reads the answer to its end and returns what went wrong.
func (r *pgRows) end() error {
	if !r.ended {
		_, r.err = r.reader.Close()
		r.ended = true
	}
	return r.err
}

func (r *pgRows) Close() error { return r.end() }
