package audit

import (
	"cmp"
	"slices"
)

// Sample is a line that was not understood, for all that look like it.
type Sample struct {
	Count int    `json:"count"`
	Line  string `json:"line"`
}

// Samples keeps one line of each shape: lines that differ in their digits only have one.
type Samples struct {
	by map[uint64]*Sample
}

const (
	mostShapes  = 1000
	mostShown   = 300 // octets of a line
	shapeOctets = 100
)

// Add takes a line. Nothing of it is kept but the beginning of the first of its shape.
func (s *Samples) Add(line []byte) {
	h := uint64(14695981039346656037)
	for _, c := range line[:min(len(line), shapeOctets)] {
		if c >= '0' && c <= '9' {
			c = '0'
		}
		h = (h ^ uint64(c)) * 1099511628211
	}
	if s.by == nil {
		s.by = map[uint64]*Sample{}
	}
	if old := s.by[h]; old != nil {
		old.Count++
	} else if len(s.by) < mostShapes {
		s.by[h] = &Sample{1, clean(string(line[:min(len(line), mostShown)]))}
	}
}

// List returns them, the most frequent first, and at most n.
func (s *Samples) List(n int) []Sample {
	all := make([]Sample, 0, len(s.by))
	for _, one := range s.by {
		all = append(all, *one)
	}
	slices.SortFunc(all, func(a, b Sample) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Line, b.Line)) })
	return all[:min(n, len(all))]
}
