package config

import "strings"

// nearest is the candidate that word was probably meant to be, "" where none is near.
func nearest(word string, candidates []string) string {
	best, bestDistance := "", max(len(word)/3, 1)+1 // one slip in a short word, a third of a long one
	word = strings.ToLower(strings.ReplaceAll(word, "-", "_"))
	if len(word) > 64 {
		return ""
	}
	for _, c := range candidates {
		if len(word) >= 3 && strings.HasPrefix(c, word) {
			return c // cut short
		}
		if d := distance(word, strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if bestDistance >= len(best) { // nothing of it would be left
		return ""
	}
	return best
}

// didYouMean is the hint for a misspelling, or else the list of what there is.
func didYouMean(word string, candidates []string) string {
	if h := misspelling(word, candidates); h != "" {
		return h
	}
	return "known are: " + strings.Join(candidates, ", ")
}

// misspelling is the hint for a misspelling, or "" where word is not like any of them.
func misspelling(word string, candidates []string) string {
	if c := nearest(word, candidates); c != "" {
		return "did you mean \"" + c + "\"?"
	}
	return ""
}

// distance counts insertions, deletions, replacements and swaps of neighbours
// (Damerau-Levenshtein, optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
