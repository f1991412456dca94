package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set when a release is built: -ldflags "-X main.release=1.2.3 -X main.commit=…".
var release, commit string

// versionInfo is what `backstop version --json` prints.
type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// buildVersion is what is known of this binary.
func buildVersion() versionInfo {
	v := versionInfo{Version: release, Commit: commit, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && v.Commit == "" {
				v.Commit = s.Value
			}
		}
	}
	if v.Version == "" {
		v.Version = "development"
	}
	if v.Commit == "" {
		v.Commit = "unknown"
	}
	return v
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print version, commit and Go version",
		Example: "  backstop version --json",
		Args:    wants(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			v := buildVersion()
			if a.json {
				return a.printJSON(v)
			}
			a.printf("backstop %s, commit %s, %s\n", v.Version, v.Commit, v.Go)
			return nil
		},
	}
}
