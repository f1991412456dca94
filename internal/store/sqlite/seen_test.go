package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/record"
	"backstop/internal/tally"
)

// firstSchema is what version 1 made of a new file, word for word.
const firstSchema = `
CREATE TABLE answer (
	source   TEXT    NOT NULL,
	address  TEXT    NOT NULL,
	standing INTEGER NOT NULL, -- 1 exists, 2 missing
	at       INTEGER NOT NULL, -- when it was given, nanoseconds since 1970
	life     INTEGER NOT NULL, -- how long a "missing" is fresh, nanoseconds
	detail   TEXT    NOT NULL,
	PRIMARY KEY (source, address)
) WITHOUT ROWID;
PRAGMA user_version = 1;
INSERT INTO answer VALUES ('list', 'ann@example.com', 1, 1777636800000000000, 0, ''), ('list', 'bob@example.com', 2, 1777636800000000001, 1, 'no');`

// oldFile makes a folder with a file of version 1.
func oldFile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	if _, err := s.db.Exec("DROP TABLE answer; DROP TABLE record; DROP TABLE tally; DROP TABLE moment;" + firstSchema); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func rec(kind record.Kind, n byte, at time.Time) record.Entry {
	return record.Entry{Kind: kind, Key: [16]byte{0: n, 15: 7}, At: at}
}

func has(t *testing.T, s *Store, e record.Entry, since time.Time, want bool) {
	t.Helper()
	got, err := s.HasRecord(t.Context(), e.Kind, e.Key, since)
	if err != nil || got != want {
		t.Errorf("%s %x since %s: %v (%v), want %v", e.Kind, e.Key, since, got, err, want)
	}
}

func tallied(t *testing.T, s *Store) string {
	t.Helper()
	var b []string
	if err := s.LoadTally(t.Context(), 0, func(l tally.Line) error {
		b = append(b, fmt.Sprint(l.Day, " ", l.Direction, " ", l.Domain, " ", l.Server, " ", l.Verdict, l.Kind, l.By, l.Sender, " ", l.Count))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(b)
	return strings.Join(b, "\n")
}

func TestOldFileKeepsItsAnswers(t *testing.T) {
	dir := oldFile(t)
	kept, err := OpenRead(dir) // before anybody brought it up to date
	if err != nil {
		t.Fatal(err)
	}
	if got := addresses(load(t, kept)); got != both {
		t.Errorf("read alone: %q", got)
	}
	has(t, kept, rec(record.Sent, 1, noon), noon, false)
	if got := tallied(t, kept); got != "" {
		t.Errorf("counted: %q", got)
	}
	if err := kept.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		s := mustOpen(t, dir)
		all := load(t, s)
		if got := addresses(all); got != both || all[0].Standing != evidence.Missing || all[0].Detail != "no" {
			t.Errorf("%+v", all)
		}
		if err := s.SaveRecords(t.Context(), []record.Entry{rec(record.Sent, 1, noon)}); err != nil {
			t.Error(err)
		}
		has(t, s, rec(record.Sent, 1, noon), noon, true)
		var v int
		if err := s.db.QueryRow("PRAGMA user_version").Scan(&v); err != nil || v != 2 {
			t.Errorf("version %d, %v", v, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestMigrationIsAllOrNothing: a step that fails leaves the file as it was.
func TestMigrationIsAllOrNothing(t *testing.T) {
	dir := oldFile(t)
	s, err := OpenRead(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	plain, err := sql.Open("sqlite", dsn(filepath.Join(dir, FileName)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Exec("CREATE TABLE moment (other)"); err != nil { // the last that the step makes
		t.Fatal(err)
	}
	plain.Close()
	if _, err := Open(dir, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "cannot be made") {
		t.Fatalf("%v", err)
	}
	if s, err = OpenRead(dir); err != nil || s.version != 1 {
		t.Fatalf("after a step that failed: %v", err)
	}
	defer s.Close()
	if got := addresses(load(t, s)); got != both {
		t.Errorf("%q", got)
	}
	var n int
	if err := s.db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name IN ('record', 'tally')").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d tables of a step that failed (%v)", n, err)
	}
}

func TestRecords(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	day := 24 * time.Hour
	old, sent, heard := rec(record.Sent, 1, noon.Add(-5*day)), rec(record.Sent, 2, noon), rec(record.Heard, 3, noon.Add(-2*day))
	ahead := rec(record.Sent, 9, noon.AddDate(30, 0, 0)) // a clock that was wrong
	for range 2 {
		if err := s.SaveRecords(t.Context(), []record.Entry{sent, old, heard, ahead}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	ago := noon.Add(-10 * day)
	for _, e := range []record.Entry{old, sent, heard, ahead} {
		has(t, s, e, ago, true)
		has(t, s, record.Entry{Kind: 3 - e.Kind, Key: e.Key}, ago, false)
	}
	has(t, s, rec(record.Sent, 4, noon), ago, false)
	has(t, s, old, noon.Add(-4*day), false)
	has(t, s, sent, noon.Add(time.Hour), true) // of the same day
	var many []record.Entry
	for i := range 2*expireChunk + 5 {
		e := rec(record.Heard, 0, noon.Add(-9*day))
		e.Key[3], e.Key[4], e.Key[5] = byte(i>>16), byte(i>>8), byte(i)
		many = append(many, e)
	}
	if err := s.SaveRecords(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	if err := s.ExpireRecords(t.Context(), noon.Add(-5*day)); err != nil {
		t.Fatal(err)
	}
	has(t, s, many[0], ago, false)
	has(t, s, old, ago, true)
	var n int
	if err := s.db.QueryRow("SELECT count(*) FROM record").Scan(&n); err != nil || n != 4 {
		t.Errorf("%d left (%v), want 4", n, err)
	}
}

// TestReadingWaitsForNoWriter: a look-up in the middle of another's transaction is answered.
func TestReadingWaitsForNoWriter(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	first := rec(record.Sent, 1, noon)
	if err := s.SaveRecords(t.Context(), []record.Entry{first}); err != nil {
		t.Fatal(err)
	}
	tx, err := s.db.Begin() // the one connection that writes is taken
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("DELETE FROM record"); err != nil {
		t.Fatal(err)
	}
	has(t, s, first, noon, true)
}

func TestTally(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	out := tally.Line{Entry: tally.Entry{
		Day: tally.DayOf(noon), Direction: tally.Out, Domain: "example.com", Server: netip.MustParseAddr("2001:db8::7"), Verdict: tally.Redirected, Kind: "bounce",
	}, Count: 3}
	in := tally.Line{Entry: tally.Entry{Day: tally.DayOf(noon) - 1, Direction: tally.In, Domain: "example.com", Verdict: tally.Unproven, Kind: "receipt", By: "x", Sender: "example.net"}, Count: 1}
	for range 2 {
		if err := s.AddTally(t.Context(), []tally.Line{out, in}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	yesterday := "2026-04-30 in example.com invalid IP unprovenreceiptxexample.net 2"
	today := "2026-05-01 out example.com 2001:db8::7 redirectedbounce 6"
	if got := tallied(t, s); got != yesterday+"\n"+today {
		t.Errorf("%s", got)
	}
	if err := s.ExpireTally(t.Context(), tally.DayOf(noon)); err != nil {
		t.Fatal(err)
	}
	if got := tallied(t, s); got != today {
		t.Errorf("%s", got)
	}
	enough := errors.New("enough")
	if err := s.LoadTally(t.Context(), 0, func(tally.Line) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	if _, err := s.db.Exec("UPDATE tally SET server = 'noise'"); err != nil {
		t.Fatal(err)
	}
	if got, want := tallied(t, s), strings.Replace(today, "2001:db8::7", "invalid IP", 1); got != want {
		t.Errorf("of a server that is no address: %s", got)
	}
}

func TestMoments(t *testing.T) {
	dir := t.TempDir()
	var s *Store
	for i, step := range []func() error{
		func() error { return nil },
		func() error { return s.Began(t.Context(), "tags example.com", noon) },
		func() error { return s.Began(t.Context(), "tags example.org", noon.Add(time.Hour)) },
		func() error { return s.Began(t.Context(), "tags example.com", noon.Add(2*time.Hour)) },
		func() error {
			return errors.Join(s.Ended(t.Context(), "tags example.org"), s.Ended(t.Context(), "never begun"))
		},
	} {
		s = mustOpen(t, dir)
		want := []map[string]time.Time{
			{}, {"tags example.com": noon}, {"tags example.com": noon, "tags example.org": noon.Add(time.Hour)},
			{"tags example.com": noon.Add(2 * time.Hour), "tags example.org": noon.Add(time.Hour)}, {"tags example.com": noon.Add(2 * time.Hour)},
		}[i]
		if err := step(); err != nil {
			t.Error(err)
		}
		if got, err := s.Moments(t.Context()); err != nil || !maps.EqualFunc(got, want, time.Time.Equal) {
			t.Errorf("%d: %v, %v", i, got, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFullDisk: a batch that does not fit is not there in part, and what was there can be read.
func TestFullDisk(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	first := rec(record.Sent, 1, noon)
	if err := s.SaveRecords(t.Context(), []record.Entry{first}); err != nil {
		t.Fatal(err)
	}
	var pages int
	if err := s.db.QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(n int) {
		if _, err := s.db.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages + 2)
	var many []record.Entry
	for i := range 1000 {
		e := rec(record.Sent, 2, noon)
		e.Key[3], e.Key[4] = byte(i>>8), byte(i)
		many = append(many, e)
	}
	if err := s.SaveRecords(t.Context(), many); err == nil || !strings.Contains(err.Error(), "full") {
		t.Fatalf("%v", err)
	}
	has(t, s, first, noon, true)
	for _, e := range many {
		has(t, s, e, noon, false)
	}
	limit(1 << 30)
	if err := s.SaveRecords(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	has(t, s, many[999], noon, true)
}

func TestEndedContextWritesNothing(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.SaveRecords(ctx, []record.Entry{rec(record.Sent, 1, noon)}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	has(t, s, rec(record.Sent, 1, noon), noon, false)
	if _, err := s.HasRecord(ctx, record.Sent, [16]byte{}, noon); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestRecordOverARestart: nothing is lost, and the file names nobody.
func TestRecordOverARestart(t *testing.T) {
	dir := t.TempDir()
	ann, err := mail.ParseAddress("ann.of.the.secret@example.com")
	if err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir)
	r := record.New(record.Config{Store: s})
	for i := range 2500 {
		r.Note(record.Sent, fmt.Sprintf("<%d@secret.example.com>", i), ann)
	}
	if err := errors.Join(r.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil || strings.Contains(string(content), "secret") {
		t.Errorf("the file says whose mail it was (%v)", err)
	}
	s = mustOpen(t, dir)
	r = record.New(record.Config{Store: s})
	for i := range 2501 {
		found, err := r.Seen(t.Context(), record.Sent, []string{fmt.Sprintf("<%d@secret.example.com>", i)}, ann)
		if err != nil || found != (i < 2500) {
			t.Fatalf("%d: %v, %v", i, found, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkSaveRecords(b *testing.B) {
	s := mustOpen(b, b.TempDir())
	batch := make([]record.Entry, record.BatchSize)
	n := 0
	for b.Loop() {
		for i := range batch {
			batch[i] = rec(record.Sent, byte(n*167), noon)
			batch[i].Key[1], batch[i].Key[2], batch[i].Key[3] = byte(n*59), byte(n>>8), byte(n>>16)
			n++
		}
		if err := s.SaveRecords(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "us/entry")
}

func BenchmarkHasRecord(b *testing.B) {
	s := mustOpen(b, b.TempDir())
	for d := range 10 {
		if err := s.SaveRecords(b.Context(), []record.Entry{rec(record.Sent, byte(d), noon.AddDate(0, 0, -d))}); err != nil {
			b.Fatal(err)
		}
	}
	key, since := [16]byte{1}, noon.Add(-record.Keep)
	for b.Loop() {
		if _, err := s.HasRecord(b.Context(), record.Sent, key, since); err != nil {
			b.Fatal(err)
		}
	}
}
