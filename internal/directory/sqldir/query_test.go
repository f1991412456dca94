package sqldir

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParse(t *testing.T) {
	all := []dialect{postgres, mysql, sqlite}
	for _, c := range []struct {
		query string
		in    []dialect
		want  string // "": must fail, with
		err   string
		parts []part
	}{
		{"SELECT 1 FROM u WHERE a={address}", []dialect{postgres}, "SELECT 1 FROM u WHERE a= $1 ", "", []part{wholeAddress}},
		{"SELECT 1 FROM u WHERE a={address}", []dialect{mysql, sqlite}, "SELECT 1 FROM u WHERE a= ? ", "", []part{wholeAddress}},
		{"SELECT {user},{domain},{user}", []dialect{postgres}, "SELECT  $1 , $2 , $3 ", "", []part{localPart, domainPart, localPart}},
		{"SELECT $1", all[1:], "SELECT  ? ", "", []part{wholeAddress}},
		{"SELECT ?;  -- that's all\n;", []dialect{postgres}, "SELECT  $1 ", "", []part{wholeAddress}},
		{"SELECT a ? 'b', $1", []dialect{postgres}, "SELECT a ? 'b',  $1 ", "", []part{wholeAddress}},
		{"SELECT a ?| b, a ?& b, a @? b, ?", []dialect{postgres}, "SELECT a ?| b, a ?& b, a @? b,  $1 ", "", []part{wholeAddress}},
		{"SELECT '{address}'", all, "", "drop the quotes", nil},
		{`SELECT "{user}"`, all, "", "drop the quotes", nil},
		{"SELECT `{domain}`", all, "", "drop the quotes", nil},
		{"SELECT '%{user}%'", all, "", "drop the quotes", nil},
		{"SELECT 'it''s {address}'", all, "", "drop the quotes", nil},
		{"SELECT '?'", all, "", "drop the quotes", nil},
		{"SELECT '$1'", all, "", "drop the quotes", nil},
		{"SELECT 'a?b' = ?", []dialect{mysql}, "SELECT 'a?b' =  ? ", "", []part{wholeAddress}},
		{`SELECT E'\'{address}'`, []dialect{postgres}, "", "drop the quotes", nil},
		{`SELECT E'\'', {address}`, []dialect{postgres}, `SELECT E'\'',  $1 `, "", []part{wholeAddress}},
		{`SELECT '\', {address}`, []dialect{postgres, sqlite}, "", "", []part{wholeAddress}},
		{`SELECT '\', {address}`, []dialect{mysql}, "", "not closed", nil},
		{`SELECT '\'{address}'`, []dialect{mysql}, "", "drop the quotes", nil},
		{"SELECT $$ {address} $$", []dialect{postgres}, "", "drop $$", nil},
		{"SELECT $a$ $$ {address} $a$", []dialect{postgres}, "", "drop $a$", nil},
		{"SELECT $a$ it's $a$, $1", []dialect{postgres}, "SELECT $a$ it's $a$,  $1 ", "", []part{wholeAddress}},
		{"SELECT $$ ", []dialect{postgres}, "", "not closed", nil},
		{"SELECT 1 -- {address}", all, "", "comment", nil},
		{"SELECT 1 # {address}", []dialect{mysql}, "", "comment", nil},
		{"SELECT 1 # {address}", []dialect{postgres}, "SELECT 1 #  $1 ", "", []part{wholeAddress}},
		{"SELECT 1 --{address}", []dialect{mysql}, "SELECT 1 --? ", "", []part{wholeAddress}},
		{"SELECT /* {address} */ 1", all, "", "comment", nil},
		{"SELECT /* /* */ {address} */ 1", []dialect{postgres}, "", "comment", nil},
		{"SELECT /* /* */ {address}", []dialect{mysql, sqlite}, "SELECT /* /* */  ? ", "", []part{wholeAddress}},
		{"SELECT /* */ {address}/*", all, "", "not closed", nil},
		{"SELECT /*!40000 1 */ {address}", []dialect{mysql}, "", "/*!", nil},
		{"SELECT [{address}]", []dialect{sqlite}, "", "drop the quotes", nil},
		{"SELECT ARRAY[{address}]", []dialect{postgres}, "SELECT ARRAY[ $1 ]", "", []part{wholeAddress}},
		{"SELECT 1", all, "", "write {address}", nil},
		{"SELECT {adress}", all, "", "{adress} is not known", nil},
		{"SELECT {ADDRESS}", all, "", "is not known", nil},
		{"SELECT $2", all, "", "$2", nil},
		{"SELECT $11", all, "", "$11", nil},
		{"SELECT ?2", all, "", "?2", nil},
		{"SELECT ?1", all[1:], "SELECT  ? ", "", []part{wholeAddress}},
		{"SELECT :address", []dialect{sqlite}, "", "nobody fills", nil},
		{"SELECT @a", []dialect{sqlite}, "", "nobody fills", nil},
		{"SELECT $address", []dialect{sqlite}, "", "nobody fills", nil},
		{"SELECT {address}; SELECT 2", all, "", "more than one", nil},
		{"SELECT {address}; DROP TABLE users", all, "", "more than one", nil},
		{"DELETE FROM users WHERE a = {address}", all, "", "must read", nil},
		{"UPDATE users SET a = {address}", all, "", "must read", nil},
		{"-- hello\n/* there */ (( select {address} ))", all[1:], "-- hello\n/* there */ (( select  ?  ))", "", []part{wholeAddress}},
		{"{address}", all, "", "must read", nil},
		{"", all, "", "empty", nil},
		{" \n", all, "", "empty", nil},
		{"SELECT {address}\x00", all, "", "NUL", nil},
		{"SELECT {address}, '\xff'", all, "", "UTF-8", nil},
		{"CALL known({user}, {domain})", all[1:], "CALL known( ? ,  ? )", "", []part{localPart, domainPart}},
	} {
		for _, d := range c.in {
			q, err := parse(c.query, d, false)
			switch {
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("%q in %d: %q, %v, want an error with %q", c.query, d, q.text, err, c.err)
			case c.err == "" && (err != nil || c.want != "" && q.text != c.want || !slices.Equal(q.parts, c.parts)):
				t.Errorf("%q in %d:\n%q %v %v, want\n%q %v", c.query, d, q.text, q.parts, err, c.want, c.parts)
			}
		}
	}
}

func TestParseListing(t *testing.T) {
	for query, want := range map[string]string{
		"SELECT email FROM u":                      "",
		"SELECT email FROM u WHERE a = 'what?';":   "",
		"SELECT email FROM u WHERE a = {address}":  "leave it away",
		"SELECT email FROM u WHERE a = $1":         "leave it away",
		"SELECT email FROM u WHERE data ? 'mail'":  "jsonb_exists",
		"SELECT email FROM u; SELECT email FROM v": "more than one",
		"TRUNCATE u": "must read",
		"SELECT email FROM u WHERE a = '{address}'": "drop the quotes",

		"SELECT email, alias FROM u":                                      "one column",
		"SELECT coalesce(a, b), ARRAY[a, b] FROM u":                       "one column",
		"SELECT /* , */ 'a', \"b\"":                                       "one column",
		"SELECT coalesce(a, b) FROM u, v WHERE u.id = v.id ORDER BY 1, 2": "",
		"SELECT (ARRAY[a, b])[1] || ',' FROM u":                           "",
		"SELECT 'a' UNION SELECT b FROM u, v":                             "",
		"WITH a AS (SELECT 1), b AS (SELECT 2) SELECT email FROM u":       "",
		"VALUES ('a@example.com'), ('b@example.com')":                     "",
	} {
		if _, err := parse(query, postgres, true); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("listing %s: %v", query, err)
		}
	}
	for query, d := range map[string]dialect{
		"SELECT [a,b] FROM u":                        sqlite,
		"SELECT 'a@example.com' LIMIT 0, 1":          mysql,
		"SELECT `a,b`, {address} FROM u WHERE a = ?": mysql,
	} {
		if _, err := parse(query, d, !strings.Contains(query, "?")); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"oracle://db/mail":                              "no database that is known",
		"postgres://ro@db/mail?sslmod=require":          `"sslmod" is not known`,
		"postgres://ro@db/mail?password=hunter2":        "password file",
		"postgres://ro:hunter2@db/mail?sslmode=maybe":   "sslmode",
		"postgres://ro:hunter2@db:99999/mail":           "port",
		"mysql://ro:hunter2@db":                         "no database is named",
		"mysql:///mail":                                 "no host is named",
		"mysql://ro:hunter2@db/mail?allowAllFiles=true": "not known",
		"mysql://ro:hunter2@db/mail?tls=maybe":          "not known",
		"mysql://ro:hunter2@db/mail?socket=/run/x":      "a host and a socket",
		"sqlite://mail.db":                              "whole path",
		"sqlite:mail.db":                                "whole path",
		"sqlite:///mail.db?mode=rwc":                    "nothing",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{Name: "db", URL: u, Query: "SELECT {address}"})
		if err == nil {
			s.Close()
			t.Errorf("%s is taken", text)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := New(Config{Query: "SELECT {address}"}); err == nil {
		t.Error("no URL is taken")
	}
}

func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"postgres://ro@db.example.com/mail":                      "sslmode=verify-full",
		"postgres://ro@db.example.com/mail?sslmode=require":      "sslmode=verify-full",
		"postgres://ro@db.example.com/mail?sslmode=verify-full":  "",
		"postgres://ro@127.0.0.1/mail":                           "",
		"postgres:///mail?host=/run/postgresql&user=ro":          "",
		"postgres://ro@db1.example.com,db2.example.com/mail":     "db2.example.com",
		"mysql://ro@db.example.com/mail":                         "tls=true",
		"mysql://ro@db.example.com/mail?tls=skip-verify":         "tls=true",
		"mysql://ro@db.example.com/mail?tls=true":                "",
		"mysql://ro@localhost/mail":                              "",
		"mysql://ro@/mail?socket=/run/mysqld/mysqld.sock":        "",
		"mysql://ro@[2001:db8::1]:3307/mail?tls=false":           "2001:db8::1",
		"sqlite:///var/lib/panel/mail.db":                        "",
		"postgres://ro@db1.example.com:1,db2.example.com:2/mail": "db1.example.com",
	} {
		got := strings.Join(setup{url: text, query: "SELECT {address}"}.open(t).Warnings(), "\n")
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// FuzzParse: whatever is accepted has a parameter for each part, and no placeholder by name any more.
func FuzzParse(f *testing.F) {
	for _, all := range fragments {
		for _, s := range all {
			f.Add("SELECT {address}, "+s, false)
		}
	}
	f.Add("SELECT '{address}'", true)
	f.Fuzz(func(t *testing.T, query string, sync bool) {
		for _, d := range []dialect{postgres, mysql, sqlite} {
			q, err := parse(query, d, sync)
			if err != nil {
				if !utf8.ValidString(err.Error()) && utf8.ValidString(query) || strings.Contains(err.Error(), "\x00") {
					t.Errorf("%q: %q", query, err)
				}
				continue
			}
			if sync != (len(q.parts) == 0) {
				t.Errorf("%q: %d parameters, listing is %v", query, len(q.parts), sync)
			}
			for _, p := range places {
				if strings.Contains(q.text, p) {
					t.Errorf("%q became %q", query, q.text)
				}
			}
			// What came out says the same to who reads it again.
			again, err := parse(q.text, d, sync)
			if err != nil || len(again.parts) != len(q.parts) && d != postgres {
				if d != postgres { // $2 is no placeholder of ours
					t.Errorf("%q became %q: %v", query, q.text, err)
				}
			}
		}
	})
}
