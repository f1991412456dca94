package keyfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"backstop/internal/directory/watch"
	"backstop/internal/keyring"
)

const (
	version   = 1
	maxFile   = 64 << 10 // octets: ten keys of MaxSecret, four times over
	MaxSecret = 1024     // octets of a secret; HMAC hashes what is longer than 64 anyway
	MinSigns  = 16       // octets of a secret that signs, at least: who sees a tag of a shorter one can try them all
)

// layout is the file as it is written.
type layout struct {
	Version int       `json:"version"`
	Keys    []fileKey `json:"keys"`
}

type fileKey struct {
	ID        keyring.ID `json:"id"`
	Secret    []byte     `json:"secret"` // not keyring.Secret, which hides itself
	Created   time.Time  `json:"created"`
	SignsFrom time.Time  `json:"signs_from,omitzero"`
	Retired   time.Time  `json:"retired,omitzero"`
	Imported  bool       `json:"imported,omitzero"`
}

func encode(w io.Writer, keys []keyring.Key) error {
	l := layout{Version: version, Keys: []fileKey{}}
	for _, k := range keys {
		l.Keys = append(l.Keys, fileKey{k.ID, k.Secret, k.Created.UTC(), k.SignsFrom.UTC(), k.Retired.UTC(), k.Imported})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(l)
}

// reader reads a file token by token, so that each mistake has its line, and no name is taken twice or
// in another case, as encoding/json alone would.
type reader struct {
	path string
	data []byte
	dec  *json.Decoder
}

// decode reads the keys of a file, in its order.
func decode(path string, in io.Reader) ([]keyring.Key, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, broken(fmt.Errorf("%s is longer than %d octets, so it is no file of keys", path, maxFile))
	}
	r := &reader{path: path, data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	keys, err := r.file()
	if err == nil {
		_, err = keyring.New(keys...)
		err = r.at(err)
	}
	if err != nil {
		return nil, broken(err)
	}
	return keys, nil
}

// at gives an error its line.
func (r *reader) at(err error) error {
	var placed *watch.Mistake
	if err == nil || errors.As(err, &placed) {
		return err
	}
	line := 1 + bytes.Count(r.data[:min(int(r.dec.InputOffset()), len(r.data))], []byte{'\n'})
	return &watch.Mistake{File: r.path, Line: line, Message: err.Error()}
}

func (r *reader) file() (keys []keyring.Key, err error) {
	got := 0
	err = r.object("the file", func(name string) error {
		switch name {
		case "version":
			if err := r.value(name, &got); err != nil {
				return err
			}
			if got != version {
				return fmt.Errorf("it is a file of version %d, and this program knows %d", got, version)
			}
			return nil
		case "keys":
			keys, err = r.keys()
			return err
		}
		return fmt.Errorf("unknown name %q", name)
	})
	if err == nil && got == 0 {
		err = errors.New(`"version" is missing`)
	}
	if err == nil {
		if _, more := r.dec.Token(); more != io.EOF {
			err = errors.New("there is text behind the end")
		}
	}
	return keys, r.at(err)
}

func (r *reader) keys() (keys []keyring.Key, err error) {
	if err := r.delim('[', `"keys" is a list`); err != nil {
		return nil, err
	}
	for r.dec.More() {
		k, err := r.key()
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
		if _, err := keyring.New(keys...); err != nil { // here, for its line
			return nil, err
		}
	}
	return keys, r.delim(']', `"keys" is a list`)
}

func (r *reader) key() (keyring.Key, error) {
	var k keyring.Key
	var id *int
	var secret []byte
	err := r.object("a key", func(name string) error {
		switch name {
		case "id":
			return r.value(name, &id)
		case "secret":
			return r.value(name, &secret)
		case "created":
			return r.value(name, &k.Created)
		case "signs_from":
			return r.value(name, &k.SignsFrom)
		case "retired":
			return r.value(name, &k.Retired)
		case "imported":
			return r.value(name, &k.Imported)
		}
		return fmt.Errorf("unknown name %q", name)
	})
	switch {
	case err != nil:
	case id == nil || *id < 0 || *id >= keyring.IDs:
		err = errors.New(`a key has an "id", 0 to 9`)
	case len(secret) == 0 || len(secret) > MaxSecret:
		err = fmt.Errorf("the secret of key %d has %s: 1 to %d are possible", *id, octets(len(secret)), MaxSecret)
	case k.Created.IsZero():
		err = fmt.Errorf("key %d lacks the time when it was created", *id)
	default:
		k.ID, k.Secret = keyring.ID(*id), secret
	}
	return k, err
}

// object reads an object, whose fields field reads, each name once.
func (r *reader) object(what string, field func(name string) error) error {
	if err := r.delim('{', what+" is an object"); err != nil {
		return err
	}
	seen := map[string]bool{}
	for r.dec.More() {
		t, err := r.dec.Token()
		if err != nil {
			return noJSON(err)
		}
		name, _ := t.(string)
		if seen[name] {
			return fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		if err := field(name); err != nil {
			return r.at(err)
		}
	}
	return r.delim('}', what+" is an object")
}

func (r *reader) delim(want json.Delim, what string) error {
	t, err := r.dec.Token()
	if err != nil {
		return noJSON(err)
	}
	if t != want {
		return fmt.Errorf("%s, and %v was expected, not %v", what, want, kind(t))
	}
	return nil
}

// kind names a token without its content, which may be a secret in the wrong place.
func kind(t json.Token) string {
	switch t := t.(type) {
	case json.Delim:
		return t.String()
	case string:
		return "a string"
	case nil:
		return "null"
	}
	return "a number or a word"
}

// value reads one value. Its error never shows it.
func (r *reader) value(name string, into any) error {
	var raw json.RawMessage
	if err := r.dec.Decode(&raw); err != nil {
		return noJSON(err)
	}
	if json.Unmarshal(raw, into) == nil {
		return nil
	}
	switch name {
	case "version", "id":
		return fmt.Errorf("%q is a whole number", name)
	case "secret":
		return errors.New(`"secret" is a string in base64`)
	case "imported":
		return errors.New(`"imported" is true or false`)
	}
	return fmt.Errorf("%q is a time, as 2026-11-23T00:00:00Z (RFC 3339)", name)
}

func noJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it breaks off: it is not whole")
	}
	return fmt.Errorf("it is not JSON: %w", err)
}
