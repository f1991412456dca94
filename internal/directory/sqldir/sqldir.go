package sqldir

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/health"
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Config of a Source. Name, URL and Query are needed, the rest has defaults.
type Config struct {
	Name     string   // directory.Source's
	URL      *url.URL // postgres://, postgresql://, mysql://, mariadb:// or sqlite:///PATH
	Password string   // goes before the one in the URL; "": that one
	Query    string   // as the package comment says
	Sync     bool     // the query lists addresses: Full is used, not Lookup

	// TLSConfig has the roots to trust: then nothing goes over without TLS, and the server must
	// prove its name. nil: what the URL says (sslmode=, tls=).
	TLSConfig   *tls.Config
	Timeout     time.Duration // of one question, connecting included, and of a listing between two rows; 5 s
	Connections int           // open at once; 8
	// Logger is told when the database cannot be asked, and when it can be again; nil: nobody.
	Logger *slog.Logger
	// Now is the clock; time.Now.
	Now func() time.Time
}

// engine is what is different from one database to the next.
type engine struct {
	dialect   dialect
	connector driver.Connector
	wires     *wires // nil: a file
	file      string
	setup     string
	keep      bool
	again     func(error) bool   // the question may be put once more, on a fresh connection
	odd       func(error) bool   // the error is about the address that was asked for
	describe  func(error) string // for the operator, without secrets
	warnings  []string
}

func (e *engine) warn(format string, args ...any) {
	e.warnings = append(e.warnings, fmt.Sprintf(format, args...))
}

// Source asks one database. Its methods are called from many goroutines.
type Source struct {
	cfg      Config
	engine   *engine
	question question
	guard    *guard
	db       *sql.DB
	gate     *health.Gate
	listing  chan struct{} // held by a listing of a file, until it has really ended
}

var (
	_ directory.Source = (*Source)(nil)
	_ directory.Puller = (*Source)(nil)
)

// New makes a source. It connects to nobody before the first question; a database that is
// away, or a file that is not there, is found then.
func New(cfg Config) (*Source, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Connections <= 0 {
		cfg.Connections = 8
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("source", cfg.Name)
	e, err := open(&cfg)
	if err != nil {
		return nil, err
	}
	q, err := parse(cfg.Query, e.dialect, cfg.Sync)
	if err != nil {
		return nil, err
	}
	s := &Source{
		cfg: cfg, engine: e, question: q,
		guard:   &guard{inner: e.connector, wires: e.wires, file: e.file, setup: e.setup, keep: e.keep},
		listing: make(chan struct{}, 1),
	}
	s.gate = health.NewGate(health.GateOptions{
		Options:     health.Options{Timeout: cfg.Timeout, Logger: cfg.Logger, Now: cfg.Now, LookAt: "the query"},
		Connections: cfg.Connections, Odd: e.odd, Explain: s.why,
	})
	s.db = sql.OpenDB(s.guard)
	s.db.SetMaxIdleConns(cfg.Connections)
	// Firewalls forget connections on which nothing happens, and tell nobody.
	s.db.SetConnMaxIdleTime(time.Minute)
	return s, nil
}

func open(cfg *Config) (*engine, error) {
	if cfg.URL == nil {
		return nil, errors.New("the URL is missing: postgres://user@host/database, mysql://user@host/database or sqlite:///path/to/file.db")
	}
	switch cfg.URL.Scheme {
	case "postgres", "postgresql":
		return openPostgres(cfg)
	case "mysql", "mariadb":
		return openMySQL(cfg)
	case "sqlite":
		return openSQLite(cfg)
	}
	return nil, fmt.Errorf("the URL: %q is no database that is known: there are postgres, mysql, mariadb and sqlite", cfg.URL.Scheme)
}

// Name is the source's name.
func (s *Source) Name() string { return s.cfg.Name }

// State says how the database does.
func (s *Source) State() health.State { return s.gate.State() }

// Warnings are what the operator should know of the way to the database: one line each.
func (s *Source) Warnings() []string { return s.engine.warnings }

// Close ends what is under way and closes the connections.
func (s *Source) Close() {
	s.gate.Close()
	if s.engine.wires != nil {
		s.engine.wires.close()
	}
	s.db.Close()
}

// Lookup asks the database.
func (s *Source) Lookup(ctx context.Context, addr mail.Address) directory.Answer {
	if s.cfg.Sync {
		return unavailable("its query lists addresses, and cannot be asked for one")
	}
	found := false
	err := s.gate.Put(ctx, func(ctx context.Context) (err error) {
		found, err = s.ask(ctx, addr)
		return err
	})
	switch {
	case err != nil:
		return unavailable(err.Error())
	case found:
		return directory.Answer{Standing: evidence.Exists, Cacheable: true}
	}
	return directory.Answer{Standing: evidence.Missing, Cacheable: true}
}

// why is an error in one line.
func (s *Source) why(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %v", s.cfg.Timeout)
	}
	return line(s.engine.describe(err))
}

// ask puts the question, and once more on a fresh connection where the first one was at fault.
func (s *Source) ask(ctx context.Context, addr mail.Address) (yes bool, err error) {
	args := make([]any, len(s.question.parts))
	for i, p := range s.question.parts {
		switch p {
		case wholeAddress:
			args[i] = addr.Key()
		case localPart:
			args[i] = addr.LocalKey()
		case domainPart:
			args[i] = addr.Domain()
		}
	}
	epoch := s.guard.epoch.Load()
	yes, err = s.once(ctx, args)
	if err == nil || s.engine.odd(err) {
		return yes, err
	}
	fresh := s.engine.again(err)
	if fresh || ctx.Err() != nil { // one that hangs is worth no more than one that broke
		s.guard.giveUp(epoch)
	}
	if fresh && ctx.Err() == nil {
		return s.once(ctx, args)
	}
	return false, err
}

func (s *Source) once(ctx context.Context, args []any) (yes bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			yes, err = false, fmt.Errorf("what the database sends is not understood: %v", p)
		}
		if err != nil && ctx.Err() != nil {
			err = ctx.Err() // what the driver makes of it says less
		}
	}()
	rows, err := s.db.QueryContext(ctx, s.question.text, args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	return answer(rows)
}

// unavailable is the answer that says nothing about the recipient.
func unavailable(detail string) directory.Answer {
	return directory.Answer{Standing: evidence.Unavailable, Detail: detail}
}
