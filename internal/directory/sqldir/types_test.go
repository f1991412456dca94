package sqldir

import (
	"testing"

	"backstop/internal/evidence"
)

// values asks for expressions, whose value is the answer.
func values(t *testing.T, d *server, yes, no []string) {
	for want, all := range map[evidence.Standing][]string{evidence.Exists: yes, evidence.Missing: no} {
		for _, v := range all {
			s := d.open(t, "SELECT "+v+" FROM users WHERE email = {address}")
			if a := s.Lookup(t.Context(), address(t, "alice@example.com")); a.Standing != want {
				t.Errorf("SELECT %s: %v (%s), want %v", v, a.Standing, a.Detail, want)
			}
			s.Close()
		}
	}
}

func postgresTypes(t *testing.T, d *server) {
	values(t, d, []string{"true", "1", "-1", "1::bigint", "0.01", "1e-9::float8", "B'0010'", "'t'", "'y'::char(1)", "email", "'NaN'::float8", "now()", "ARRAY[0]", "sum(1) OVER ()"},
		[]string{"false", "0", "0::smallint", "0::bigint", "NULL", "NULL::text", "0.00", "0::numeric", "0::float4", "'-0'::float8", "B'000'", "sum(0) OVER ()", "0::oid", "'0'", "'f'", "''", "'n'::char(3)"})
	s := d.open(t, "SELECT 1 FROM users WHERE email = {address} AND '{\"a\":1}'::jsonb ? 'a' AND ARRAY[1,2] && ARRAY[2] AND {user}::text = ANY('{alice,bob}')")
	expect(t, s, "alice@example.com", evidence.Exists, "")
	d.sql(`CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`)
	u := *s.cfg.URL
	u.Path = "/latin"
	latin := setup{url: u.String(), query: "SELECT 1 WHERE {address} = 'x'"}.open(t)
	expect(t, latin, "alice@example.com", evidence.Missing, "")
	expect(t, latin, "日本@example.com", evidence.Unavailable, "LATIN1")
	well(t, latin)
	latin = setup{url: u.String(), query: "SELECT 1 WHERE {user} = chr(252)"}.open(t)
	expect(t, latin, "ü@example.com", evidence.Exists, "")
}

func mysqlTypes(t *testing.T, d *server) {
	values(t, d, []string{"true", "1", "-1", "CAST(1 AS UNSIGNED)", "0.01", "1e-9", "b'0010'", "'y'", "email", "now()", "SUM(1)"},
		[]string{"false", "0", "CAST(0 AS UNSIGNED)", "NULL", "0.00", "0e0", "SUM(0)", "CAST(0 AS DECIMAL(5,2))", "'0'", "'n'", "'NO'", "''"})
	d.sql("CREATE TABLE flags (email varchar(100) CHARACTER SET latin1, b bit(1), w bit(20), f float, u tinyint unsigned)")
	d.sql("INSERT INTO flags VALUES ('yes@example.com', 1, 1, 0.5, 1), ('no@example.com', 0, 0, 0, 0)")
	for _, column := range []string{"b", "w", "f", "u"} {
		s := d.open(t, "SELECT "+column+" FROM flags WHERE email = {address}")
		expect(t, s, "yes@example.com", evidence.Exists, "")
		expect(t, s, "no@example.com", evidence.Missing, "")
		a := s.Lookup(t.Context(), address(t, "日本@example.com"))
		if st := s.State(); a.Standing == evidence.Exists || st.Failures != 0 {
			t.Errorf("an address that cannot be written in the column's encoding: %+v, %+v", a, st)
		}
	}
}
