package bounce

import (
	"bytes"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// sample is one message of the corpus.
type sample struct {
	name string
	raw  []byte
	null bool // it says that its envelope sender was <>
	held bool // of the half that was not looked at while the clues were written
}

// corpus reads a folder of the sample messages, which lie beside the repository and are not copied into it.
func corpus(t testing.TB, folder string) []sample {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "corpus", folder)
	files, err := os.ReadDir(dir)
	if err != nil {
		mailtest.Absent(t, "the sample messages beside the repository (../shared/corpus)")
	}
	var all []sample
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		h := fnv.New32a()
		h.Write([]byte(folder + "/" + f.Name()))
		rp, _, _ := bytes.Cut(append([]byte("\n"), raw...), []byte("\n\n"))
		null := bytes.Contains(bytes.ToLower(rp), []byte("\nreturn-path: <>"))
		all = append(all, sample{name: f.Name(), raw: raw, null: null, held: h.Sum32()>>7&1 == 1})
	}
	return all
}

// carries says, without any code of the package, that a message has within its body, somewhere, lines that
// only the header of another message has.
func carries(raw []byte) bool {
	text := strings.ToLower(strings.ReplaceAll(string(raw), "\r\n", "\n"))
	_, body, _ := strings.Cut(text, "\n\n")
	seen := map[string]bool{}
	for line := range strings.Lines(body) {
		line = strings.TrimLeft(line, " \t>")
		for _, name := range []string{"from:", "subject:", "date:", "message-id:", "received:", "to:"} {
			if strings.HasPrefix(line, name) {
				seen[name] = true
			}
		}
	}
	return seen["from:"] && (seen["message-id:"] || seen["received:"]) && (seen["subject:"] || seen["date:"])
}
