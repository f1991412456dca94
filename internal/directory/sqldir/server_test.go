package sqldir

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/health"
	"backstop/internal/evidence"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// server is what the two servers of the rig have in common, and the words in which they differ.
type server struct {
	kind      string
	addr      string
	authority *mailtest.Authority
	sql       func(string) string
	start     func()
	stop      func()
	kill      func()
	pause     func()
	resume    func()

	exact     string // type of a column that is compared octet by octet
	slow      string // a condition that takes half a minute
	running   string // how many sessions are in it
	many      string // lists five million addresses
	secured   string // a condition: this session has TLS
	noTLS     string // behind the ? of the URL
	unhex     string // a literal of a text's octets
	writing   string // a query that writes if it may
	isWritten string // how often it did
	joined    string // the address, made of its sides
	setup     string // of what writing needs
	doubtful  string // a query that fails for the address bad@example.com alone
}

func (d *server) url(user, password, query string) string {
	u := url.URL{Scheme: d.kind, Host: d.addr, Path: "/" + rig.DatabaseName, RawQuery: query, User: url.UserPassword(user, password)}
	return u.String()
}

func (d *server) open(t testing.TB, query string) *Source {
	t.Helper()
	return setup{url: d.url(rig.DatabaseUser, rig.DatabasePassword, d.noTLS), query: query}.open(t)
}

func TestPostgres(t *testing.T) {
	p := rig.StartPostgres(t)
	d := &server{
		kind: "postgres", addr: p.Addr, authority: p.Authority, sql: p.SQL,
		start: p.Start, stop: p.Stop, kill: p.Kill, pause: p.Pause, resume: p.Resume,
		exact:   "text",
		slow:    "pg_sleep(30) IS NOT NULL",
		running: "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
		many:    "SELECT 'u' || n || '@example.com' FROM generate_series(1, 5000000) n",
		secured: "EXISTS (SELECT 1 FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl)",
		noTLS:   "sslmode=disable", joined: "{user}||'@'||{domain}", unhex: `convert_from('\x%x', 'UTF8')`,
		setup:     "CREATE TABLE written (a text); GRANT INSERT ON written TO reader",
		writing:   "WITH w AS (INSERT INTO written VALUES ({address}) RETURNING a) SELECT a FROM w",
		isWritten: "SELECT count(*) FROM written",
		doubtful:  "SELECT 1 FROM (SELECT {address} AS a) q WHERE CASE WHEN a = 'bad@example.com' THEN 1 / (length(a) - 15) ELSE 1 END = 1",
	}
	contract(t, d)
	t.Run("types", func(t *testing.T) { postgresTypes(t, d) })
}

func TestMariaDB(t *testing.T) {
	m := rig.StartMariaDB(t)
	d := &server{
		kind: "mysql", addr: m.Addr, authority: m.Authority, sql: m.SQL,
		start: m.Start, stop: m.Stop, kill: m.Kill, pause: m.Pause, resume: m.Resume,
		exact:   "varchar(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
		slow:    "SLEEP(30) = 0",
		running: "SELECT count(*) FROM information_schema.processlist WHERE state = 'User sleep'",
		many:    "SELECT CONCAT('u', seq, '@example.com') FROM seq_1_to_5000000",
		secured: "(SELECT variable_value <> '' FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher')",
		noTLS:   "tls=false", joined: "CONCAT({user},'@',{domain})", unhex: "CONVERT(X'%x' USING utf8mb4)",
		setup: "CREATE TABLE written (a text); CREATE PROCEDURE note(IN a text) SQL SECURITY DEFINER " +
			"BEGIN INSERT INTO written VALUES (a); SELECT 1; END",
		writing:   "CALL note({address})",
		isWritten: "SELECT count(*) FROM written",
		doubtful:  "SELECT IF({address} = 'bad@example.com', (SELECT 1 UNION SELECT 2), 1)",
	}
	contract(t, d)
	t.Run("types", func(t *testing.T) { mysqlTypes(t, d) })
	t.Run("socket", func(t *testing.T) {
		s := setup{url: "mariadb://root@/" + rig.DatabaseName + "?socket=" + m.Socket, query: "SELECT 1 FROM users WHERE email = ?"}.open(t)
		expect(t, s, "alice@example.com", evidence.Exists, "")
	})
}

// contract is what every server must do.
func contract(t *testing.T, d *server) {
	d.sql("CREATE TABLE users (email " + d.exact + ", active boolean)")
	d.sql("INSERT INTO users VALUES ('alice@example.com', true), ('gone@example.com', false), ('null@example.com', NULL), ('\"a b\"@example.com', true)")
	for _, one := range []struct {
		name string
		test func(*testing.T, *server)
	}{
		{"follows", follows}, {"placeholders", placeholders}, {"listing", lists}, {"restart", restarts}, {"killed in a question", killedAsking},
		{"killed in a listing", killedListing}, {"password", passwords}, {"tls", overTLS}, {"read-only", onlyReads}, {"hangs", hangs}, {"hangs in a listing", hangsListing},
		{"odd", oddOnes}, {"injection", injection}, {"scanner", scansLikeServer}, {"close", closes},
	} {
		if !t.Run(one.name, func(t *testing.T) { one.test(t, d) }) {
			return
		}
	}
}

func follows(t *testing.T, d *server) {
	s := d.open(t, "SELECT active FROM users WHERE email = {address}")
	expect(t, s, "alice@example.com", evidence.Exists, "")
	expect(t, s, "ALICE@EXAMPLE.COM", evidence.Exists, "")
	expect(t, s, `"a b"@example.com`, evidence.Exists, "")
	expect(t, s, "gone@example.com", evidence.Missing, "")
	expect(t, s, "null@example.com", evidence.Missing, "")
	expect(t, s, "bob@example.com", evidence.Missing, "")
	d.sql("INSERT INTO users VALUES ('bob@example.com', true)")
	expect(t, s, "bob@example.com", evidence.Exists, "")
	d.sql("UPDATE users SET email = 'robert@example.com' WHERE email = 'bob@example.com'")
	expect(t, s, "bob@example.com", evidence.Missing, "")
	expect(t, s, "robert@example.com", evidence.Exists, "")
	d.sql("UPDATE users SET active = false WHERE email = 'robert@example.com'")
	expect(t, s, "robert@example.com", evidence.Missing, "")
	d.sql("INSERT INTO users VALUES ('robert@example.com', true)") // two rows: one yes is enough
	expect(t, s, "robert@example.com", evidence.Exists, "")
	d.sql("DELETE FROM users WHERE email = 'robert@example.com'")
	expect(t, s, "robert@example.com", evidence.Missing, "")
	well(t, s)
}

func placeholders(t *testing.T, d *server) {
	for _, query := range []string{
		"SELECT 1 FROM users WHERE email = $1",
		"SELECT 1 FROM users WHERE email=? ; -- the address",
		"select count(*) from users where email = {address}",
		"SELECT EXISTS (SELECT 1 FROM users WHERE email = {address} OR email = {address})",
		"SELECT 1 FROM users WHERE email = " + d.joined,
		"WITH u AS (SELECT * FROM users) SELECT 'yes, ? and $1' AS \"it's\" FROM u WHERE email={address}/* it's; */",
		"(SELECT 1 FROM users WHERE email = $1 AND email = {address})",
	} {
		s := d.open(t, query)
		expect(t, s, "alice@example.com", evidence.Exists, "")
		expect(t, s, "nobody@example.com", evidence.Missing, "")
	}
	for query, want := range map[string]string{
		"SELECT 1 FROM absent WHERE email = {address}":   "absent",
		"SELECT FROM FROM users WHERE email = {address}": "",
	} {
		expect(t, d.open(t, query), "alice@example.com", evidence.Unavailable, want)
	}
}

func lists(t *testing.T, d *server) {
	d.sql("CREATE TABLE crowd (email " + d.exact + ")")
	source := "generate_series(1, 100000) AS s(seq)"
	if d.kind == "mysql" {
		source = "seq_1_to_100000"
	}
	d.sql("INSERT INTO crowd SELECT CONCAT('user', seq, '@example.com') FROM " + source)
	d.sql("INSERT INTO crowd VALUES (NULL)")
	s := setup{url: d.url(rig.DatabaseUser, rig.DatabasePassword, d.noTLS), query: "SELECT email FROM crowd", sync: true}.open(t)
	c := &taker{}
	began := time.Now()
	pulled, err := s.Full(context.Background(), c)
	if err != nil || len(c.got) != 100_000 || pulled.Cursor != nil {
		t.Fatalf("%d addresses, %+v: %v", len(c.got), pulled, err)
	}
	t.Logf("100,000 rows in %v", time.Since(began))
	unlike := map[string]bool{}
	for _, a := range c.got {
		unlike[a] = true
	}
	if len(unlike) != 100_000 || !unlike["user100000@example.com"] {
		t.Errorf("%d different ones", len(unlike))
	}
	if _, err := s.Changes(context.Background(), nil, c); !errors.Is(err, directory.ErrStartOver) {
		t.Errorf("changes: %v", err)
	}
	expect(t, s, "user1@example.com", evidence.Unavailable, "lists addresses")
	full := errors.New("the disk is full")
	if _, err := s.Full(context.Background(), &taker{each: func(int) error { return full }}); !errors.Is(err, full) {
		t.Errorf("who takes it gave up, and the pull says %v", err)
	}
	well(t, s)
	two := setup{url: d.url(rig.DatabaseUser, rig.DatabasePassword, d.noTLS), query: "SELECT * FROM (SELECT email, 1 FROM crowd) AS two", sync: true}.open(t)
	if _, err := two.Full(context.Background(), c); err == nil || !strings.Contains(err.Error(), "2 columns") {
		t.Errorf("two columns: %v", err)
	}
	d.sql("DELETE FROM crowd")
	if _, err := s.Full(context.Background(), &taker{}); err != nil {
		t.Errorf("nobody is there: %v", err)
	}
}

// restarts shows that a pool whose every connection is dead costs no question.
func restarts(t *testing.T, d *server) {
	s := d.open(t, "SELECT active FROM users WHERE email = {address}")
	for _, end := range []func(){d.stop, d.kill} {
		var together sync.WaitGroup
		for range 32 {
			together.Go(func() { expect(t, s, "alice@example.com", evidence.Exists, "") })
		}
		together.Wait()
		end()
		d.start()
		for range 32 {
			together.Go(func() { expect(t, s, "alice@example.com", evidence.Exists, "") })
		}
		together.Wait()
		well(t, s)
	}
	d.kill()
	a := expect(t, s, "alice@example.com", evidence.Unavailable, "")
	expect(t, s, "nobody@example.com", evidence.Unavailable, "")
	if st := s.State(); st.Condition != health.Down || st.Failures != 2 {
		t.Errorf("state: %+v", st)
	}
	t.Logf("away: %s", a.Detail)
	d.start()
	expect(t, s, "alice@example.com", evidence.Exists, "")
	expect(t, s, "nobody@example.com", evidence.Missing, "")
}

func killedAsking(t *testing.T, d *server) {
	s := d.open(t, "SELECT active FROM users WHERE email = {address} AND "+d.slow)
	answers := make(chan directory.Answer, 1)
	go func() { answers <- s.Lookup(context.Background(), address(t, "alice@example.com")) }()
	waitFor(t, func() bool { return d.sql(d.running) == "1" })
	d.kill()
	if a := <-answers; a.Standing != evidence.Unavailable || a.Detail == "" {
		t.Errorf("%+v", a)
	}
	d.start()
	// The same, when the caller gives up: no fault of the server's.
	ctx, cancel := context.WithCancel(context.Background())
	go func() { answers <- s.Lookup(ctx, address(t, "alice@example.com")) }()
	waitFor(t, func() bool { return d.sql(d.running) == "1" })
	failures := s.State().Failures
	cancel()
	if a := <-answers; a.Standing != evidence.Unavailable {
		t.Errorf("%+v", a)
	}
	if now := s.State().Failures; now != failures {
		t.Errorf("%d failures, before %d", now, failures)
	}
}

func killedListing(t *testing.T, d *server) {
	s := setup{url: d.url(rig.DatabaseUser, rig.DatabasePassword, d.noTLS), query: d.many, sync: true}.open(t)
	for _, end := range []func(){d.kill, d.stop} {
		ended := make(chan struct{})
		c := &taker{each: func(n int) error {
			if n == 1000 {
				go func() {
					end()
					close(ended)
				}()
				return nil
			}
			if n == 100_000 { // what is under way already may come
				<-ended
			}
			return nil
		}}
		_, err := s.Full(context.Background(), c)
		<-ended
		if err == nil || len(c.got) < 1000 || len(c.got) >= 5_000_000 || !strings.Contains(err.Error(), "broke off") {
			t.Fatalf("%d rows: %v", len(c.got), err)
		}
		t.Logf("%d rows: %v", len(c.got), err)
		d.start()
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &taker{each: func(n int) error {
		if n == 1000 {
			cancel()
		}
		return nil
	}}
	if _, err := s.Full(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("%d rows: %v", len(c.got), err)
	}
}

func passwords(t *testing.T, d *server) {
	const query, wrong = "SELECT 1 FROM users WHERE email = {address}", "hunter2-hunter2"
	s := setup{url: d.url(rig.DatabaseUser, wrong, d.noTLS), query: query}.open(t)
	a := expect(t, s, "alice@example.com", evidence.Unavailable, "user and password")
	if strings.Contains(fmt.Sprintf("%+v %+v", a, s.State()), wrong) {
		t.Errorf("the password is shown: %+v", a)
	}
	t.Logf("wrong password: %s", a.Detail)
	s = setup{url: d.url(rig.DatabaseUser, wrong, d.noTLS), password: rig.DatabasePassword, query: query}.open(t)
	expect(t, s, "alice@example.com", evidence.Exists, "")
}

func overTLS(t *testing.T, d *server) {
	query := "SELECT " + d.secured + " FROM users WHERE email = {address}"
	from := func(pool *mailtest.Authority, behind string) *Source {
		return setup{url: d.url(rig.DatabaseUser, rig.DatabasePassword, behind), query: query, tls: &tls.Config{RootCAs: pool.Pool()}}.open(t)
	}
	expect(t, from(d.authority, ""), "alice@example.com", evidence.Exists, "")
	a := expect(t, from(mailtest.NewAuthority(t), ""), "alice@example.com", evidence.Unavailable, "certificate")
	t.Logf("not trusted: %s", a.Detail)
	expect(t, d.open(t, query), "alice@example.com", evidence.Missing, "") // no TLS was wanted
	u, _ := url.Parse(d.url(rig.DatabaseUser, rig.DatabasePassword, d.noTLS))
	if s, err := New(Config{URL: u, Query: query, TLSConfig: &tls.Config{}}); err == nil {
		s.Close()
		t.Errorf("%s and a certificate to trust do not contradict each other", d.noTLS)
	}
}

func onlyReads(t *testing.T, d *server) {
	d.sql(d.setup)
	a := expect(t, d.open(t, d.writing), "alice@example.com", evidence.Unavailable, "")
	if !strings.Contains(strings.ToLower(a.Detail), "read") {
		t.Errorf("refused, but why? %s", a.Detail)
	}
	if n := d.sql(d.isWritten); n != "0" {
		t.Errorf("%s rows were written", n)
	}
}

func hangs(t *testing.T, d *server) {
	s := setup{url: d.url(rig.DatabaseUser, rig.DatabasePassword, d.noTLS), query: "SELECT 1 FROM users WHERE email = {address}", timeout: 300 * time.Millisecond}.open(t)
	waitFor(t, func() bool {
		return s.Lookup(context.Background(), address(t, "alice@example.com")).Standing == evidence.Exists
	})
	d.pause()
	expect(t, s, "alice@example.com", evidence.Unavailable, "no answer within 300ms")
	expect(t, s, "nobody@example.com", evidence.Unavailable, "no answer within 300ms")
	d.resume()
	waitFor(t, func() bool {
		return s.Lookup(context.Background(), address(t, "alice@example.com")).Standing == evidence.Exists
	})
}

// hangsListing: a listing is waited for as long as rows come, and no longer.
func hangsListing(t *testing.T, d *server) {
	s := setup{url: d.url(rig.DatabaseUser, rig.DatabasePassword, d.noTLS), query: d.many, sync: true, timeout: time.Second}.open(t)
	c := &taker{each: func(n int) error {
		if n == 1000 {
			d.pause()
		}
		return nil
	}}
	_, err := s.Full(context.Background(), c)
	d.resume()
	if err == nil || len(c.got) >= 5_000_000 || !strings.Contains(err.Error(), "no answer within 1s") {
		t.Errorf("%d rows: %v", len(c.got), err)
	}
}

// oddOnes shows that nobody can switch a database off by asking for what it stumbles over.
func oddOnes(t *testing.T, d *server) {
	s := d.open(t, d.doubtful)
	expect(t, s, "alice@example.com", evidence.Exists, "")
	for range 20 {
		expect(t, s, "bad@example.com", evidence.Unavailable, "")
	}
	well(t, s)
	expect(t, s, "alice@example.com", evidence.Exists, "")
}

func closes(t *testing.T, d *server) {
	s := d.open(t, "SELECT active FROM users WHERE email = {address} AND "+d.slow)
	answers := make(chan directory.Answer, 1)
	go func() { answers <- s.Lookup(context.Background(), address(t, "alice@example.com")) }()
	waitFor(t, func() bool { return d.sql(d.running) == "1" })
	d.pause()
	defer d.resume()
	s.Close()
	if a := <-answers; a.Standing != evidence.Unavailable {
		t.Errorf("%+v", a)
	}
	expect(t, s, "alice@example.com", evidence.Unavailable, "closed")
	s.Close()
}

// waitFor waits for something that happens elsewhere.
func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(patience); !done(); <-ticker.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v", patience)
		}
	}
}
