package mailtest

import (
	"os"
	"path/filepath"
	"testing"
)

// Corpus is a folder of the sample messages ("bounces", "autoreplies", "feedback-reports", "ordinary"), and "" the one that
// has them all. They are kept beside the repository and not copied into it: BACKSTOP_CORPUS names another place. A test that
// needs them is skipped aloud where they are not. It is for tests of packages two folders below the repository's.
func Corpus(t testing.TB, folder string) string {
	t.Helper()
	root := os.Getenv("BACKSTOP_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	dir := filepath.Join(root, folder)
	if _, err := os.Stat(dir); err != nil {
		Absent(t, "the corpus of sample messages beside the repository (BACKSTOP_CORPUS)")
	}
	return dir
}
