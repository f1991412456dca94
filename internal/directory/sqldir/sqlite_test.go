package sqldir

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/directory/health"
	"backstop/internal/evidence"

	lite "modernc.org/sqlite"
)

// liteFile is a file as another program keeps it.
type liteFile struct {
	t    testing.TB
	path string
	db   *sql.DB
}

func newLite(t testing.TB, path string) *liteFile {
	t.Helper()
	u := url.URL{Scheme: "file", Path: path}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return &liteFile{t: t, path: path, db: db}
}

func (l *liteFile) sql(statements string) string {
	l.t.Helper()
	rows, err := l.db.Query(statements)
	if err != nil {
		l.t.Fatalf("%s: %v", statements, err)
	}
	defer rows.Close()
	value := ""
	for rows.Next() {
		if err := rows.Scan(&value); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		l.t.Fatalf("%s: %v", statements, err)
	}
	return value
}

func (l *liteFile) url() string {
	u := url.URL{Scheme: "sqlite", Path: l.path}
	return u.String()
}

const byEmail = "SELECT active FROM users WHERE email = {address}"

func users(t *testing.T, name string) *liteFile {
	l := newLite(t, filepath.Join(t.TempDir(), name))
	l.sql("CREATE TABLE users (email TEXT COLLATE NOCASE, active BOOLEAN)")
	l.sql("INSERT INTO users VALUES ('Alice@Example.com', 1), ('gone@example.com', 0), ('null@example.com', NULL)")
	return l
}

func TestSQLiteFollows(t *testing.T) {
	for _, mode := range []string{"DELETE", "WAL"} {
		l := users(t, "a file?with #odd%20 'name'.db")
		l.sql("PRAGMA journal_mode=" + mode)
		s := setup{url: l.url(), query: byEmail}.open(t)
		expect(t, s, "alice@example.com", evidence.Exists, "")
		expect(t, s, "gone@example.com", evidence.Missing, "")
		expect(t, s, "null@example.com", evidence.Missing, "")
		expect(t, s, "bob@example.com", evidence.Missing, "")
		l.sql("INSERT INTO users VALUES ('bob@example.com', 1)")
		expect(t, s, "bob@example.com", evidence.Exists, "")
		l.sql("UPDATE users SET email = 'robert@example.com' WHERE email = 'bob@example.com'")
		expect(t, s, "bob@example.com", evidence.Missing, "")
		expect(t, s, "robert@example.com", evidence.Exists, "")
		l.sql("ALTER TABLE users ADD COLUMN quota INTEGER") // the prepared statement is of another schema
		expect(t, s, "robert@example.com", evidence.Exists, "")
		l.sql("DELETE FROM users WHERE email = 'robert@example.com'")
		expect(t, s, "robert@example.com", evidence.Missing, "")
		l.sql("DROP TABLE users")
		expect(t, s, "alice@example.com", evidence.Unavailable, "users")
		s.Close()
		expect(t, s, "alice@example.com", evidence.Unavailable, "closed")
	}
}

func TestSQLiteTypes(t *testing.T) {
	l := users(t, "db")
	for want, values := range map[evidence.Standing][]string{
		evidence.Exists:  {"1", "-1", "0.5", "'y'", "'none'", "x'00'", "email", "true", "count(*)", "sum(1)"},
		evidence.Missing: {"0", "0.0", "NULL", "false", "sum(0)", "CAST(NULL AS TEXT)", "'0'", "''", "'n'", "'No'", "' false '"},
	} {
		for _, v := range values {
			s := setup{url: l.url(), query: "SELECT " + v + " FROM users WHERE email = {address}"}.open(t)
			if a := s.Lookup(t.Context(), address(t, "alice@example.com")); a.Standing != want {
				t.Errorf("SELECT %s: %v (%s), want %v", v, a.Standing, a.Detail, want)
			}
		}
	}
	for _, query := range []string{
		"SELECT 1 FROM users WHERE email = $1", "SELECT 1 FROM users WHERE email = ?1", "SELECT 1 FROM users WHERE email = ?",
		"SELECT 1 FROM [users] WHERE email = {user} || '@' || {domain};", "VALUES ((SELECT count(*) FROM users WHERE email = {address}))",
	} {
		s := setup{url: l.url(), query: query}.open(t)
		expect(t, s, "alice@example.com", evidence.Exists, "")
		expect(t, s, "nobody@example.com", evidence.Missing, "")
	}
}

// TestSQLiteAbsent: a file that is not there is never made, and found when it comes.
func TestSQLiteAbsent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	s := setup{url: "sqlite://" + path, query: byEmail}.open(t)
	expect(t, s, "alice@example.com", evidence.Unavailable, "no such file")
	if _, err := os.Stat(path); err == nil {
		t.Fatal("it was made")
	}
	if st := s.State(); st.Condition != health.Down {
		t.Errorf("state: %+v", st)
	}
	l := newLite(t, path)
	l.sql("CREATE TABLE users (email TEXT, active INTEGER)")
	l.sql("INSERT INTO users VALUES ('alice@example.com', 1)")
	expect(t, s, "alice@example.com", evidence.Exists, "")
	l.db.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect(t, s, "alice@example.com", evidence.Unavailable, "no such file")
	for what, content := range map[string]string{"not a database": strings.Repeat("x", 8192), "no table": ""} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		a := expect(t, s, "alice@example.com", evidence.Unavailable, "")
		t.Logf("%s: %s", what, a.Detail)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	expect(t, s, "alice@example.com", evidence.Unavailable, "")
}

// TestSQLiteReplaced: another file takes the place of the one that is open.
func TestSQLiteReplaced(t *testing.T) {
	l := users(t, "db")
	s := setup{url: l.url(), query: byEmail}.open(t)
	expect(t, s, "alice@example.com", evidence.Exists, "")
	for i := range 5 {
		next := newLite(t, l.path+".new")
		next.sql("CREATE TABLE users (email TEXT, active INTEGER)")
		next.sql(fmt.Sprintf("INSERT INTO users VALUES ('user%d@example.com', 1)", i))
		next.db.Close()
		if err := os.Rename(next.path, l.path); err != nil {
			t.Fatal(err)
		}
		expect(t, s, fmt.Sprintf("user%d@example.com", i), evidence.Exists, "")
		expect(t, s, fmt.Sprintf("user%d@example.com", i-1), evidence.Missing, "")
		expect(t, s, "alice@example.com", evidence.Missing, "")
	}
	well(t, s)
}

// TestSQLiteLocked: a writer that does not end holds everybody up, and no longer than that.
func TestSQLiteLocked(t *testing.T) {
	l := users(t, "db")
	s := setup{url: l.url(), query: byEmail, timeout: 200_000_000}.open(t)
	expect(t, s, "alice@example.com", evidence.Exists, "")
	l.sql("BEGIN EXCLUSIVE")
	expect(t, s, "alice@example.com", evidence.Unavailable, "")
	l.sql("COMMIT")
	expect(t, s, "alice@example.com", evidence.Exists, "")
	l.sql("PRAGMA journal_mode=WAL")
	l.sql("BEGIN IMMEDIATE")
	l.sql("DELETE FROM users")
	expect(t, s, "alice@example.com", evidence.Exists, "") // readers and the writer do not meet
	l.sql("COMMIT")
	expect(t, s, "alice@example.com", evidence.Missing, "")
}

func TestSQLiteOnlyReads(t *testing.T) {
	l := users(t, "db")
	s := setup{url: l.url(), query: "WITH a AS (SELECT {address} AS a) INSERT INTO users SELECT a, 1 FROM a RETURNING 1"}.open(t)
	a := expect(t, s, "mallory@example.com", evidence.Unavailable, "readonly")
	t.Log(a.Detail)
	if n := l.sql("SELECT count(*) FROM users"); n != "3" {
		t.Errorf("%s rows", n)
	}
}

func TestSQLiteListing(t *testing.T) {
	l := users(t, "db")
	l.sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 100000) INSERT INTO users SELECT 'user' || i || '@example.com', 1 FROM n")
	s := setup{url: l.url(), query: "SELECT email FROM users WHERE active", sync: true}.open(t)
	c := &taker{}
	if _, err := s.Full(context.Background(), c); err != nil || len(c.got) != 100_001 {
		t.Errorf("%d: %v", len(c.got), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c = &taker{each: func(int) error { cancel(); return nil }}
	if _, err := s.Full(ctx, c); err == nil || len(c.got) > 50_000 {
		t.Errorf("given up: %v", err)
	}
}

// TestSQLiteDamaged flips octets: an answer may become unavailable, and Lookup must not fall over.
func TestSQLiteDamaged(t *testing.T) {
	l := users(t, "db")
	l.sql("CREATE INDEX by_email ON users (email)")
	l.db.Close()
	whole, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	s := setup{url: l.url(), query: byEmail}.open(t)
	census := map[evidence.Standing]int{}
	for i := range min(len(whole), 200) {
		flipped := append([]byte(nil), whole...)
		flipped[i] ^= 0xff
		if err := os.WriteFile(l.path+".new", flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(l.path+".new", l.path); err != nil {
			t.Fatal(err)
		}
		census[s.Lookup(t.Context(), address(t, "alice@example.com")).Standing]++
	}
	t.Logf("census: %v", census)
	if err := os.WriteFile(l.path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s.guard.giveUp(s.guard.epoch.Load()) // written in place, which SQLite does not do
	expect(t, s, "alice@example.com", evidence.Exists, "")
}

func TestSQLiteInjection(t *testing.T) {
	l := newLite(t, filepath.Join(t.TempDir(), "db"))
	known := table(l.sql, "CAST(X'%x' AS TEXT)", "TEXT")
	inject(t, setup{url: l.url(), query: "SELECT 1 FROM nasty WHERE email = {address}"}.open(t), known)
	if n := l.sql("SELECT count(*) FROM nasty"); n != fmt.Sprint(len(known)) {
		t.Errorf("the table has %s rows of %d", n, len(known))
	}
}

func TestSQLiteScanner(t *testing.T) {
	l := users(t, "db")
	compareScans(t, setup{url: l.url(), query: byEmail}.open(t), sqlite)
}

// TestSQLiteComputes: SQLite cannot be stopped on its way from one row to the next, and nobody waits for it.
func TestSQLiteComputes(t *testing.T) {
	computes, end := make(chan struct{}, 1), make(chan struct{})
	lite.MustRegisterScalarFunction("computes", 0, func(*lite.FunctionContext, []driver.Value) (driver.Value, error) {
		computes <- struct{}{}
		<-end
		return nil, nil
	})
	l := users(t, "db")
	list := func() *Source {
		s := setup{url: l.url(), query: "SELECT 'a@example.com' UNION ALL SELECT computes()", sync: true, timeout: 4_000_000_000}.open(t)
		s.guard.inner.(*fileConnector).driver = l.db.Driver().(*lite.Driver) // which knows the function
		return s
	}
	for _, give := range []func(cancel context.CancelFunc, s *Source){
		func(cancel context.CancelFunc, _ *Source) { cancel() },
		func(_ context.CancelFunc, s *Source) { s.Close() },
	} {
		s := list()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-computes
			give(cancel, s)
		}()
		c := &taker{}
		if _, err := s.Full(ctx, c); !errors.Is(err, context.Canceled) || len(c.got) != 1 {
			t.Fatalf("%q: %v", c.got, err)
		}
		cancel()
		if _, err := s.Full(t.Context(), c); err == nil || !strings.Contains(err.Error(), "computes on") && !strings.Contains(err.Error(), "closed") {
			t.Errorf("two at a time: %v", err)
		}
		s.Close()
		end <- struct{}{}
		s.listing <- struct{}{} // it has ended
		if len(c.got) != 1 {
			t.Errorf("taken after the end: %q", c.got)
		}
	}
}
