package main

import (
	"strings"
	"testing"
)

func TestDescribeProfile(t *testing.T) {
	got := strings.Join(describeProfile(`
    40.00%  [k] finish_task_switch.isra.0                  -      -            
    20.00%  [.] runtime.futex.abi0

    10.00%  [.] backstop/internal/smtp.(*Server).serve
     5.00%  [k] tcp_sendmsg
     0.50%  [.] runtime.mallocgc
`), "\n")
	for _, want := range []string{
		"largest items: kernel finish_task_switch.isra.0 40.0 %; runtime.futex.abi0 20.0 %; backstop/internal/smtp.(*Server).serve 10.0 %",
		"takes 60 %",
		"runtime.mallocgc 0.5 %",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in:\n%s", want, got)
		}
	}
	if got := describeProfile("nothing to see"); len(got) != 1 {
		t.Errorf("an empty report gave %q", got)
	}
}
