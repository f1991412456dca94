// Command backstop is an SMTP gateway that makes backscatter impossible: every
// recipient is decided inside the sender's own SMTP conversation, and nothing is ever
// accepted that could bounce later.
//
// This package turns flags and signals into calls of internal/daemon and answers
// into text, tables, JSON and exit codes. One file holds one subcommand.
//
// # Limits
//
// It decides nothing about mail.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal does not wait for the drain
	code := Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Main runs one command line and returns its exit code. A command that runs
// until it is told to stop ends in good order when ctx does.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{in: stdin, out: stdout, err: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil {
		a.complain(err)
		return failureCode(cmd, err)
	}
	return a.code
}
