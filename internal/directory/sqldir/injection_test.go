package sqldir

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// nasty are pieces of which attacks are made.
var nasty = []string{"'", `"`, "`", `\`, "\x00", "%", "_", "%s", "%00", "--", "-- ", "#", ";", "/*", "*/", "$1", "$$", "?", "{address}", "${", "\n", "\r", "\x1a",
	" OR 1=1", "' OR '1'='1", "'; DROP TABLE nasty; --", `\'; DROP TABLE nasty; #`, "' UNION SELECT 1 -- ", "E'", "0x27", "char(39)", "alice", "@example.com", "ü", "日", "\xff", "\xbf'", "\u02bc", "=", "(", ")"}

func anything() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(nasty), 1, 8).Draw(t, "pieces"), "")
	})
}

// table fills the table nasty with texts that a server can hold, and returns them.
func table(sql func(string) string, unhex, exact string) map[string]bool {
	known := map[string]bool{}
	n := 0
	texts := anything()
	for len(known) < 300 {
		s := texts.Example(n)
		n++
		if utf8.ValidString(s) && !strings.Contains(s, "\x00") {
			known[s] = true
		}
	}
	sql("CREATE TABLE nasty (email " + exact + ")")
	var rows []string
	for _, s := range slices.Sorted(maps.Keys(known)) {
		rows = append(rows, "("+fmt.Sprintf(unhex, s)+")")
	}
	sql("INSERT INTO nasty VALUES " + strings.Join(rows, ","))
	return known
}

func injection(t *testing.T, d *server) {
	known := table(d.sql, d.unhex, d.exact)
	s := d.open(t, "SELECT 1 FROM nasty WHERE email = {address}")
	inject(t, s, known)
	if n := d.sql("SELECT count(*) FROM nasty"); n != fmt.Sprint(len(known)) {
		t.Errorf("the table has %s rows of %d", n, len(known))
	}
}

// inject shows that a text is found if and only if it is in the table. What the database
// cannot hold as a text (NUL, no UTF-8) may be an error, and must not be found.
func inject(t *testing.T, s *Source, known map[string]bool) {
	all := slices.Sorted(maps.Keys(known))
	census := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		for range 100 {
			text := rapid.OneOf(anything(), rapid.SampledFrom(all), rapid.String()).Draw(t, "text")
			yes, err := s.once(context.Background(), []any{text})
			holdable := utf8.ValidString(text) && !strings.Contains(text, "\x00")
			switch {
			case yes != known[text]:
				t.Fatalf("%q: %v (%v), want %v", text, yes, err, known[text])
			case err != nil && holdable:
				t.Fatalf("%q: %v", text, err)
			case err != nil && !s.engine.odd(err):
				t.Fatalf("%q counts against the database: %v", text, err)
			}
			census["texts"]++
			if yes {
				census["known"]++
			}
			if err != nil {
				census["errors"]++
			}
			for what, has := range map[string]string{"quote": "'", "backslash": `\`, "NUL": "\x00", "semicolon": ";", "comment": "--", "percent": "%", "placeholder": "{address}"} {
				if strings.Contains(text, has) {
					census[what]++
				}
			}
		}
	})
	for _, what := range []string{"known", "quote", "backslash", "NUL", "semicolon", "comment", "percent", "placeholder"} {
		if census[what] < 100 {
			t.Errorf("only %d texts with %s", census[what], what)
		}
	}
	t.Logf("census: %v", census)
}

// fragments are pieces of queries that a scanner may take for something else than a server does.
var fragments = map[dialect][]string{
	postgres: {"'it''s'", `'\'`, `E'\''`, `e'\\'`, "U&'x'", `"a""b"`, "$$ ' $$", "$q$ $$ \" $q$", "/* ' */", "/* /* */ ' */", "-- '\n", "--'\n", "{address}", "{user}", "{domain}", "$1",
		"('[1]'::jsonb ->> 0)", "(ARRAY['{1}'])[1]", "B'01'", "x$1y", "1.5e3", "a$$b", "#", "@", "'{'", "':x'", "1 - -1", "\t"},
	mysql:  {"'it''s'", `'\''`, `'\\'`, `"a\"b"`, `"it's"`, "'a' 'b'", "/* ' */", "/* /* ' */", "-- '\n", "# '\n", "#\n", "--1", "{address}", "{user}", "?", "X'41'", "_utf8mb4'x'", "1.5e3", "':x'", "'{'", "1 - -1", "\t", "5 -- x\n"},
	sqlite: {"'it''s'", `'\'`, `"a""b"`, "[it's]", "`it's`", "/* ' */", "/* /* ' */", "-- '\n", "--'\n", "{address}", "{user}", "?", "$1", "?1", "x'41'", "1.5e3", "':x'", "'{'", "1 - -1", "\t"},
}

// queries draws a query that is made of fragments: most are nonsense, but lexically sound or not as a server sees it.
func queries(d dialect) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.SampledFrom(fragments[d]), 1, 5).Draw(t, "fragments")
		return "SELECT 1 WHERE " + rapid.SampledFrom([]string{"{address}", "?", "{address} "}).Draw(t, "one") + " IN (" + strings.Join(parts, rapid.SampledFrom([]string{",", " , ", "\n,"}).Draw(t, "between")) + ")"
	})
}

// scansLikeServer shows that server and scanner agree on where the parameters are: the server must
// never say that there are more or fewer than are handed over.
func scansLikeServer(t *testing.T, d *server) {
	kind := postgres
	if d.kind == "mysql" {
		kind = mysql
	}
	s := d.open(t, "SELECT {address}")
	compareScans(t, s, kind)
}

func compareScans(t *testing.T, s *Source, kind dialect) {
	answered, refused, rejected := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		for range 5 {
			text := queries(kind).Draw(t, "query")
			q, err := parse(text, kind, false)
			if err != nil {
				rejected++
				continue
			}
			args := make([]any, len(q.parts))
			for i := range args {
				args[i] = "x"
			}
			rows, err := s.db.QueryContext(context.Background(), q.text, args...)
			if err == nil {
				rows.Close()
				err = rows.Err()
			}
			if err == nil {
				answered++
				continue
			}
			refused++
			for _, sign := range []string{"there is no parameter", "parameters in the query", "bind message", "missing argument", "unterminated", "not enough args"} {
				if strings.Contains(err.Error(), sign) {
					t.Fatalf("%q\nbecame %q with %d parameters: %v", text, q.text, len(args), err)
				}
			}
		}
	})
	t.Logf("%d answered, %d refused by the server, %d by the scanner", answered, refused, rejected)
	if answered < 50 {
		t.Errorf("only %d queries were understood", answered)
	}
}
