package daemon

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"backstop/internal/config"
	"backstop/internal/directory/access"
	"backstop/internal/directory/list"
	"backstop/internal/directory/watch"
)

// CheckFiles reads the files of recipients that a configuration names, each once, and
// says for which of their lines New would fail, and what they have that is allowed and
// probably not meant.
func CheckFiles(cfg *config.Config) (problems, warnings []config.Problem) {
	type file struct {
		kind config.SourceKind
		path string
	}
	seen := map[file]bool{}
	for i := range cfg.Domains {
		for _, src := range cfg.Domains[i].Sources {
			if src.LDAP != nil || src.SQL != nil || src.HTTP != nil {
				if f := (file{src.Kind, src.Name}); !seen[f] {
					seen[f] = true
					p, w := checkPlug(cfg, &src)
					problems, warnings = append(problems, p...), append(warnings, w...)
				}
				continue
			}
			f := file{src.Kind, src.File}
			if src.File == "" || seen[f] {
				continue
			}
			seen[f] = true
			var err error
			var warned []*watch.Mistake
			if src.Kind == config.SourceList {
				err = list.Check(src.File)
			} else {
				warned, err = access.Check(mapKinds[src.Kind], src.File)
			}
			problems = append(problems, fileProblems(src.File, err)...)
			warnings = append(warnings, mistakes(warned)...)
		}
		for _, path := range cfg.Domains[i].Senders.Files {
			f := file{config.SourceAccess, path}
			if seen[f] {
				continue
			}
			seen[f] = true
			warned, err := access.Check(access.Access, path)
			problems, warnings = append(problems, fileProblems(path, err)...), append(warnings, mistakes(warned)...)
		}
	}
	return problems, append(warnings, checkMailboxes(cfg)...)
}

func mistakes(warned []*watch.Mistake) []config.Problem {
	var all []config.Problem
	for _, w := range warned {
		all = append(all, config.Problem{File: w.File, Line: w.Line, Message: w.Message})
	}
	return all
}

// checkPlug says what New would find wrong with a source that is asked, and what it warns of.
func checkPlug(cfg *config.Config, src *config.Source) (problems, warnings []config.Problem) {
	a, err := newAsked(src, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		return []config.Problem{cfg.ProblemAt(src.Name, troubleKey(src), err)}, nil
	}
	defer a.Close()
	return nil, plugWarnings(cfg, src.Name, a)
}

// plugWarnings is what a source that is asked has to say of the way to it.
func plugWarnings(cfg *config.Config, name string, a asked) (warnings []config.Problem) {
	if w, ok := a.(interface{ Warnings() []string }); ok {
		for _, text := range w.Warnings() {
			warnings = append(warnings, cfg.ProblemAt(name, "url", errors.New(text)))
		}
	}
	return warnings
}

// warn logs what the operator should know of the configuration that is in force now.
func (d *Daemon) warn(s *setup) {
	warnings := slices.Clone(s.cfg.Warnings)
	for _, name := range slices.Sorted(maps.Keys(s.plugs)) {
		warnings = append(warnings, plugWarnings(s.cfg, name, s.plugs[name].asked)...)
	}
	for _, w := range warnings {
		d.log.Warn("configuration: "+w.Message, "file", w.File, "line", w.Line, "hint", w.Hint)
	}
	d.warnOfMailboxes(s)
}

// fileProblems takes the mistakes of a file apart.
func fileProblems(path string, err error) []config.Problem {
	if err == nil {
		return nil
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var all []config.Problem
		for _, e := range several.Unwrap() {
			all = append(all, fileProblems(path, e)...)
		}
		return all
	}
	var m *watch.Mistake
	if errors.As(err, &m) {
		return []config.Problem{{File: m.File, Line: m.Line, Message: m.Message}}
	}
	return []config.Problem{{File: path, Message: err.Error()}}
}
