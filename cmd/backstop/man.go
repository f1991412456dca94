package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (a *app) man() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages into a folder",
		Long:    "Writes one manual page a command into DIR, from the same text as --help.",
		Example: "  backstop man /usr/local/share/man/man8",
		Hidden:  true,
		Args:    wants(1, 1, "one folder"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := c.Root()
			root.DisableAutoGenTag = true // no date: the same source gives the same pages
			return doc.GenManTree(root, &doc.GenManHeader{Section: "8", Source: "Backstop " + buildVersion().Version, Manual: "Backstop"}, args[0])
		},
	}
}
