package keyfile

import (
	"bytes"
	"strings"
	"testing"

	"backstop/internal/keyring"
)

func TestDecode(t *testing.T) {
	const key = `{"id": 3, "secret": "c2VjcmV0", "created": "2026-11-22T09:00:00Z"}`
	for name, tc := range map[string]struct{ in, fail string }{
		"none":             {`{"version": 1, "keys": []}`, ""},
		"no list":          {`{"version": 1}`, ""},
		"one":              {`{"version": 1, "keys": [` + key + `]}`, ""},
		"keys first":       {`{"keys": [` + key + `], "version": 1}`, ""},
		"imported":         {`{"version": 1, "keys": [{"id": 0, "secret": "c2VjcmV0", "created": "2026-11-22T09:00:00Z", "imported": true}]}`, ""},
		"imported as text": {`{"version": 1, "keys": [{"id": 0, "secret": "c2VjcmV0", "imported": "yes"}]}`, `"imported" is true or false`},
		"null is unset":    {`{"version": 1, "keys": [{"id": 0, "secret": "c2VjcmV0", "created": "2026-11-22T09:00:00Z", "signs_from": null, "retired": null}]}`, ""},
		"breaks off":       {"{\"version\": 1,\n\"keys\": [", "keys.json:2: it breaks off"},
		"breaks off later": {"{\"version\": 1,\n\"keys\": [" + key[:30], "keys.json:2: it breaks off"},
		"no JSON":          {"version = 1", "keys.json:1: it is not JSON"},
		"a list":           {"[]", "keys.json:1: the file is an object, and { was expected, not ["},
		"a word":           {`"c2VjcmV0"`, "not a string"},
		"text behind":      {`{"version": 1}` + "\n{}", "text behind the end"},
		"no version":       {`{"keys": []}`, `"version" is missing`},
		"another version":  {`{"version": 2, "what": 3}`, "a file of version 2, and this program knows 1"},
		"version as text":  {`{"version": "1"}`, `"version" is a whole number`},
		"unknown":          {`{"version": 1, "Keys": []}`, `unknown name "Keys"`},
		"twice":            {`{"version": 1, "version": 1}`, `"version" is there twice`},
		"keys no list":     {`{"version": 1, "keys": {}}`, `"keys" is a list`},
		"key no object":    {`{"version": 1, "keys": [3]}`, "a key is an object, and { was expected, not a number"},
		"unknown of a key": {"{\"version\": 1, \"keys\": [\n{\"id\": 3,\n\"Secret\": \"c2VjcmV0\"}]}", `keys.json:3: unknown name "Secret"`},
		"secret twice":     {`{"version": 1, "keys": [{"secret": "c2VjcmV0", "secret": "c2VjcmV0"}]}`, "twice"},
		"no id":            {`{"version": 1, "keys": [{"secret": "c2VjcmV0"}]}`, `has an "id"`},
		"id null":          {`{"version": 1, "keys": [{"id": null, "secret": "c2VjcmV0"}]}`, `has an "id"`},
		"id 10":            {`{"version": 1, "keys": [{"id": 10, "secret": "c2VjcmV0"}]}`, `has an "id"`},
		"id 1.5":           {`{"version": 1, "keys": [{"id": 1.5}]}`, `"id" is a whole number`},
		"no secret":        {`{"version": 1, "keys": [{"id": 3}]}`, "has 0 octets"},
		"long secret":      {`{"version": 1, "keys": [{"id": 3, "secret": "` + strings.Repeat("AAAA", 342) + `"}]}`, "has 1026 octets"},
		"no base64":        {`{"version": 1, "keys": [{"id": 3, "secret": "!secret!"}]}`, "base64"},
		"not created":      {`{"version": 1, "keys": [{"id": 3, "secret": "c2VjcmV0"}]}`, "lacks the time"},
		"no time":          {`{"version": 1, "keys": [{"id": 3, "secret": "c2VjcmV0", "created": "yesterday"}]}`, `"created" is a time`},
		"one number twice": {"{\"version\": 1, \"keys\": [" + key + ",\n" + key + "]}", "keys.json:2: two keys have the number 3"},
		"long":             {`{"version": 1}` + strings.Repeat(" ", maxFile), "longer than 65536 octets"},
	} {
		keys, err := decode("keys.json", strings.NewReader(tc.in))
		if tc.fail == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.fail) || keys != nil || hintOf(err) == "" {
			t.Errorf("%s: %v, want %q", name, err, tc.fail)
		} else if strings.Contains(err.Error(), "c2VjcmV0") || strings.Contains(err.Error(), "!secret!") {
			t.Errorf("%s: %v shows the secret", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"version": 1, "keys": [{"id": 3, "secret": "c2VjcmV0", "created": "2026-11-22T09:00:00Z", "signs_from": "2026-11-23T00:00:00+01:00", "retired": "2026-12-23T00:00:00Z", "imported": true}]}`,
		`{"version": 1, "keys": []}`, `{"keys": null, "version": 1}`, `{"version": 1, "keys": [{"id": 3, "id": 4}]}`, `[`, "{\"version\":\n2",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		keys, err := decode("keys.json", strings.NewReader(s))
		if err != nil {
			return
		}
		ring, err := keyring.New(keys...)
		if err != nil {
			t.Fatalf("%q makes no ring: %v", s, err)
		}
		var b bytes.Buffer
		if err := encode(&b, ring.Keys()); err != nil {
			if strings.Contains(err.Error(), "year outside") || strings.Contains(err.Error(), "Time.Marshal") {
				return // a time that only its zone kept within four digits of year
			}
			t.Fatal(err)
		}
		again, err := decode("keys.json", &b)
		if err != nil || len(again) != len(keys) {
			t.Fatalf("%q is written as something else: %v", s, err)
		}
		for i, k := range ring.Keys() {
			if a := again[i]; a.ID != k.ID || string(a.Secret) != string(k.Secret) || !a.Created.Equal(k.Created) || !a.SignsFrom.Equal(k.SignsFrom) || !a.Retired.Equal(k.Retired) || a.Imported != k.Imported {
				t.Fatalf("key %v of %q changes", k.ID, s)
			}
		}
	})
}
