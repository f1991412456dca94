package daemon

import (
	"backstop/internal/config"
	"backstop/internal/directory"
)

func lives(l config.Lives) directory.Lives {
	return directory.Lives{ExistsFor: l.ExistsFor, Refresh: l.Refresh, MaxStale: l.MaxStale, MissingFor: l.MissingFor, MissingMax: l.MissingMax}
}

// livesOf is how long a source's answers are used.
func livesOf(cfg *config.Config, src *config.Source) directory.Lives {
	switch src.Kind {
	case config.SourceCallahead:
		return lives(src.Callahead.Lives)
	case config.SourceLDAP, config.SourceSQL, config.SourceHTTP:
		return askedLives(askedOf(src).Lives)
	}
	return lives(cfg.Cache.Lives)
}

// allLives are those of all sources.
func allLives(cfg *config.Config) (all []directory.Lives) {
	for i := range cfg.Domains {
		sources := cfg.Domains[i].Sources
		for n := range sources {
			all = append(all, livesOf(cfg, &sources[n]))
		}
	}
	return all
}

// askedLives are the lives of answers that are asked for each time unless the operator
// wants otherwise.
func askedLives(l config.Lives) directory.Lives {
	out := lives(l)
	if out.ExistsFor == 0 {
		out.ExistsFor, out.Refresh = directory.Never, directory.Never
	}
	if out.MissingFor == 0 {
		out.MissingFor = directory.Never
	}
	out.MissingMax = out.MissingFor
	return out
}
