package daemon

import (
	"errors"

	"backstop/internal/config"
	"backstop/internal/directory/list"
)

// CheckLists reads each list that a configuration names and says what start
// would refuse about it, with file and line.
func CheckLists(cfg *config.Config) []config.Problem {
	var found []config.Problem
	seen := map[string]bool{}
	for i := range cfg.Domains {
		for _, src := range cfg.Domains[i].Sources {
			if src.Kind != config.SourceList || seen[src.File] {
				continue
			}
			seen[src.File] = true
			if err := list.Check(src.File); err != nil {
				found = append(found, listProblems(src.File, err)...)
			}
		}
	}
	return found
}

// listProblems takes a list's error apart, a problem a bad line.
func listProblems(file string, err error) []config.Problem {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []config.Problem
		for _, e := range many.Unwrap() {
			all = append(all, listProblems(file, e)...)
		}
		return all
	}
	var m *list.Mistake
	if errors.As(err, &m) {
		return []config.Problem{{File: m.File, Line: m.Line, Message: m.Message}}
	}
	return []config.Problem{{File: file, Message: err.Error()}}
}
