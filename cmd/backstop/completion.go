package main

import (
	"io"

	"github.com/spf13/cobra"
)

// shells are the shells that can be taught, and how.
var shells = map[string]func(*cobra.Command, io.Writer) error{
	"bash":       func(c *cobra.Command, w io.Writer) error { return c.GenBashCompletionV2(w, true) },
	"zsh":        (*cobra.Command).GenZshCompletion,
	"fish":       func(c *cobra.Command, w io.Writer) error { return c.GenFishCompletion(w, true) },
	"powershell": (*cobra.Command).GenPowerShellCompletionWithDesc,
}

func (a *app) completion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print what teaches a shell to complete commands and flags",
		Example: "  backstop completion bash > /etc/bash_completion.d/backstop\n" +
			"  source <(backstop completion zsh)",
		Args:      wants(1, 1, "one shell"),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(c *cobra.Command, args []string) error {
			write, known := shells[args[0]]
			if !known {
				return hint("known are bash, zsh, fish and powershell", "no completion for %q", args[0])
			}
			return write(c.Root(), a.out)
		},
	}
}
