package sqldir

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"backstop/internal/directory"
)

// answer is true if one of the rows says yes.
func answer(rows *sql.Rows) (bool, error) {
	types, err := rows.ColumnTypes()
	if err != nil {
		return false, err
	}
	if len(types) == 0 {
		return false, errors.New("the query gives no rows at all: it must SELECT something")
	}
	values := make([]any, len(types))
	into := make([]any, len(types))
	for i := range values {
		into[i] = &values[i]
	}
	kind := types[0].DatabaseTypeName()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return false, err
		}
		if isYes(values[0], kind) {
			return true, nil
		}
	}
	return false, rows.Err()
}

// isYes: everything but NULL, false, a number that is 0 and a text that means no. Numbers may come as text,
// and then the database's name for the column's type says so.
func isYes(v any, kind string) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case int32:
		return v != 0
	case uint64:
		return v != 0
	case float64:
		return v != 0
	case float32:
		return v != 0
	case string:
		return textIsYes(v, kind)
	case []byte:
		return textIsYes(string(v), kind)
	}
	return true
}

// textIsYes: a number by its digits, and of words all but those with which a panel switches a mailbox off.
func textIsYes(v, kind string) bool {
	if isNumber(kind) {
		return hasDigit(v)
	}
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "", "0", "n", "no", "f", "false":
		return false
	}
	return true
}

func isNumber(kind string) bool {
	switch strings.ToUpper(kind) {
	case "DECIMAL", "NUMERIC", "BIT", "VARBIT", "MONEY":
		return true
	}
	return strings.HasSuffix(strings.ToUpper(kind), "INT")
}

// hasDigit says whether there is anything in the number but zeros: digits ("0.00"), or the octets of
// MySQL's BIT.
func hasDigit(v string) bool {
	return strings.Trim(v, "\x000.,-+$ ") != ""
}

// Full lists every address that the query gives: its only column, a row each. NULL is passed
// over. An answer that breaks off is an error.
func (s *Source) Full(ctx context.Context, into directory.Copy) (directory.Pulled, error) {
	switch {
	case !s.cfg.Sync:
		return directory.Pulled{}, errors.New("its query asks for one address, and lists none")
	case s.gate.Open().Err() != nil:
		return directory.Pulled{}, errors.New("this source is closed")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.gate.Open(), cancel)()
	began := s.cfg.Now()
	l := &listing{source: s, into: into}
	err := l.run(ctx)
	switch {
	case l.refused != nil: // by who takes it, which is no fault of the database
		return directory.Pulled{}, l.refused
	case err == nil:
		if l.rows == 0 {
			l.first = s.cfg.Now()
		}
		s.gate.Answered(l.first.Sub(began))
		return directory.Pulled{}, nil
	case ctx.Err() != nil:
		return directory.Pulled{}, ctx.Err()
	}
	why := s.why(err)
	if l.rows > 0 {
		why = fmt.Sprintf("the listing broke off after %d rows: %s", l.rows, why)
	}
	s.gate.Failed(why)
	return directory.Pulled{}, errors.New(why)
}

// Changes cannot be told: a query gives what is there now.
func (s *Source) Changes(context.Context, []byte, directory.Copy) (directory.Pulled, error) {
	return directory.Pulled{}, directory.ErrStartOver
}

// listing is one run of a query that lists.
type listing struct {
	source   *Source
	into     directory.Copy
	patience *time.Timer // ends the listing when no row comes

	mu      sync.Mutex
	left    bool // nobody waits for rows any more
	rows    int
	first   time.Time // when the first row came; zero: there was none
	refused error     // what into said
}

// run puts the query, once more if the first time no row came over a connection that was at fault.
func (l *listing) run(ctx context.Context) error {
	s := l.source
	epoch := s.guard.epoch.Load()
	err := l.once(ctx)
	if err == nil || l.refused != nil {
		return err
	}
	s.guard.giveUp(epoch)
	if l.rows == 0 && s.engine.again(err) && ctx.Err() == nil {
		return l.once(ctx)
	}
	return err
}

// once puts the query.
func (l *listing) once(ctx context.Context) error {
	s := l.source
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.patience = time.AfterFunc(s.cfg.Timeout, func() { cancel(context.DeadlineExceeded) })
	defer l.patience.Stop()
	err := l.apart(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// apart reads the rows in a goroutine of its own where the database is a file. SQLite cannot be
// stopped while it computes what the next row is, which a query with a slip may do for ever. Then it is left to
// itself with its connection, and no listing begins before it has ended.
func (l *listing) apart(ctx context.Context) error {
	s := l.source
	if s.engine.file == "" {
		return l.read(ctx)
	}
	wait := time.NewTimer(s.cfg.Timeout / 2) // a pull and an export may come together
	defer wait.Stop()
	select {
	case s.listing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return errors.New("the listing before this one was given up, and SQLite computes on: look at the query")
	}
	ended := make(chan error, 1)
	go func() {
		err := l.read(ctx)
		<-s.listing
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = true
	return ctx.Err()
}

// read hands on the rows.
func (l *listing) read(ctx context.Context) (err error) {
	s := l.source
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("what the database sends is not understood: %v", p)
		}
	}()
	rows, err := s.db.QueryContext(ctx, s.question.text)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	if len(columns) != 1 {
		return fmt.Errorf("the query gives %d columns: %s", len(columns), oneColumn)
	}
	var address sql.NullString
	for rows.Next() {
		if err := rows.Scan(&address); err != nil {
			return err
		}
		if err := l.row(ctx, address); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return ctx.Err() // a listing that was given up is never taken for a short one
}

// row takes one row, unless nobody waits for it any more.
func (l *listing) row(ctx context.Context, address sql.NullString) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left {
		return ctx.Err()
	}
	l.patience.Stop()
	defer l.patience.Reset(l.source.cfg.Timeout)
	if l.rows++; l.rows == 1 {
		l.first = l.source.cfg.Now()
	}
	if address.Valid {
		l.refused = l.into.Take("", address.String)
	}
	return l.refused
}

// maxDetail bounds what is passed on of a database's words, in octets.
const maxDetail = 300

// line makes one line of a text, without what would move a terminal's cursor.
func line(text string) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || 0x7f <= r && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))), " ")
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return text
}
