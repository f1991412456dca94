package sqldir

import (
	"context"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mailtest/rig"
)

// BenchmarkLookup asks servers on this machine among 100,000 addresses.
func BenchmarkLookup(b *testing.B) {
	const fill = "CREATE TABLE crowd (email varchar(100) PRIMARY KEY)"
	b.Run("postgres", func(b *testing.B) {
		p := rig.StartPostgres(b)
		p.SQL(fill)
		p.SQL("INSERT INTO crowd SELECT 'user' || n || '@example.com' FROM generate_series(1, 100000) n")
		d := &server{kind: "postgres", addr: p.Addr, noTLS: "sslmode=disable"}
		bench(b, d.open(b, "SELECT 1 FROM crowd WHERE email = {address}"))
	})
	b.Run("mariadb", func(b *testing.B) {
		m := rig.StartMariaDB(b)
		m.SQL(fill)
		m.SQL("INSERT INTO crowd SELECT CONCAT('user', seq, '@example.com') FROM seq_1_to_100000")
		d := &server{kind: "mysql", addr: m.Addr, noTLS: "tls=false"}
		bench(b, d.open(b, "SELECT 1 FROM crowd WHERE email = {address}"))
	})
	b.Run("sqlite", func(b *testing.B) {
		l := newLite(b, b.TempDir()+"/db")
		l.sql(fill)
		l.sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 100000) INSERT INTO crowd SELECT 'user' || i || '@example.com' FROM n")
		bench(b, setup{url: l.url(), query: "SELECT 1 FROM crowd WHERE email = {address}"}.open(b))
	})
}

func bench(b *testing.B, s *Source) {
	yes, no := mustParse("user4711@example.com"), mustParse("nobody@example.com")
	for name, c := range map[string]struct {
		parallel bool
	}{"alone": {false}, "together": {true}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			one := func(i int) {
				addr, want := yes, evidence.Exists
				if i%2 == 0 {
					addr, want = no, evidence.Missing
				}
				if a := s.Lookup(context.Background(), addr); a.Standing != want {
					b.Error(a)
				}
			}
			if !c.parallel {
				for i := 0; b.Loop(); i++ {
					one(i)
				}
				return
			}
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					one(i)
				}
			})
		})
	}
}
