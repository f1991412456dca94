package config

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
)

// FuzzParse: no input may crash, every problem stands inside the file, and our own
// rules about second definitions agree with those of the TOML library.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/broken/*.toml", "testdata/good/*.toml", "testdata/interface.toml"} {
		for _, path := range seeds(f, pattern) {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if namesFiles(data) {
			t.Skip("it may open files")
		}
		c, err := Parse("fuzz.toml", data)
		if (c == nil) == (err == nil) {
			t.Fatalf("configuration %v with error %v", c, err)
		}
		inside(t, data, err)
		var ignored map[string]any
		library := toml.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &ignored)
		_, ours := parseTree("fuzz.toml", data)
		if (library == nil) != (len(ours) == 0) {
			t.Fatalf("the library says %v, we say %v", library, ours)
		}
	})
}

func seeds(f *testing.F, pattern string) []string {
	f.Helper()
	paths, err := os.ReadDir(strings.TrimSuffix(pattern, "/*.toml"))
	if err != nil {
		return []string{pattern} // a single file
	}
	var out []string
	for _, p := range paths {
		if strings.HasSuffix(p.Name(), ".toml") {
			out = append(out, strings.TrimSuffix(pattern, "*.toml")+p.Name())
		}
	}
	return out
}

// namesFiles keeps the fuzzer from opening devices and pipes.
func namesFiles(data []byte) bool {
	s := string(data)
	for _, word := range []string{"list", "access", "certificate", "_file", "key", "state", `\`} {
		if strings.Contains(strings.ReplaceAll(s, "listen", ""), word) {
			return true
		}
	}
	return false
}

func inside(t *testing.T, data []byte, err error) {
	if err == nil {
		return
	}
	lines := strings.Split(strings.TrimPrefix(string(data), "\ufeff"), "\n")
	for _, p := range problems(t, err) {
		if p.Line == 0 && p.Column == 0 {
			continue
		}
		if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1 {
			t.Fatalf("%v stands outside the file", p)
		}
		if strings.ContainsAny(p.Message+p.Hint, "\r\n") {
			t.Fatalf("%q is not one line", p.Message)
		}
	}
}
