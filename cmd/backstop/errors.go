package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"backstop/internal/config"
)

// advised is an error with a line of advice, as several packages make them.
type advised interface {
	error
	Hint() string
}

// hinted is one of our own.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is the advice.
func (h *hinted) Hint() string { return h.hint }

// hint makes an error that is printed with advice below it.
func hint(advice, format string, args ...any) error {
	return &hinted{fmt.Errorf(format, args...), advice}
}

// errorCodes are the exit codes for errors of the commands whose codes 1 and 2 already mean something.
var errorCodes = map[string]int{"explain": 3, "lookup": 3, "listed": 3, "scan": 3}

// failureCode is the exit code when cmd failed.
func failureCode(cmd *cobra.Command, _ error) int {
	if cmd != nil {
		if code, ok := errorCodes[cmd.Name()]; ok {
			return code
		}
	}
	return 1
}

// complain prints an error: one line each, advice below.
func (a *app) complain(err error) {
	var list *config.Errors
	if errors.As(err, &list) {
		for _, e := range list.List {
			a.complainOne(e.String(), e.Hint)
		}
		return
	}
	a.complainOne(err.Error(), adviceOf(err))
}

func (a *app) complainOne(text, advice string) {
	fmt.Fprintf(a.err, "backstop: %s\n", oneLine(text))
	if advice != "" {
		fmt.Fprintf(a.err, "backstop: hint: %s\n", oneLine(advice))
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func flagError(c *cobra.Command, err error) error {
	advice := fmt.Sprintf("`%s --help` lists the flags", c.CommandPath())
	var number *strconv.NumError
	if !errors.As(err, &number) {
		return hint(advice, "%w", err)
	}
	wanted := "a whole number is wanted"
	switch {
	case errors.Is(err, strconv.ErrRange):
		wanted = "that number is out of range"
	case number.Func == "ParseBool":
		wanted = "true or false is wanted"
	}
	text, _, _ := strings.Cut(err.Error(), ": strconv.")
	return hint(advice, "%s: %s", text, wanted)
}

func unknownCommand(c *cobra.Command, name string) error {
	advice := fmt.Sprintf("`%s --help` lists the commands", c.CommandPath())
	if like := c.SuggestionsFor(name); len(like) > 0 {
		advice = fmt.Sprintf("did you mean `%s %s`?", c.CommandPath(), like[0])
	}
	return hint(advice, "unknown command %q for %q", name, c.CommandPath())
}

// wants says how many arguments a command takes, in words of its own.
func wants(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return hint(fmt.Sprintf("`%s --help` shows an example", c.CommandPath()), "%s needs %s", c.Name(), what)
		case most >= 0 && len(args) > most:
			return hint(fmt.Sprintf("`%s --help` shows an example", c.CommandPath()), "%s takes %s, and %q is one argument too many", c.Name(), what, args[most])
		}
		return nil
	}
}

// adviceOf is the advice that comes with an error, or "".
func adviceOf(err error) string {
	var h advised
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// at puts a place before an error, and keeps its advice.
func at(place string, err error) error {
	return &hinted{fmt.Errorf("%s: %w", place, err), adviceOf(err)}
}
