package main

import (
	"os"
	"testing"
)

func TestParseProcStat(t *testing.T) {
	line := "42 (a) name) S 7 42 42 0 -1 4194304 98 0 0 0 10 20 3 4 20 0 1 0 99558 3133440 363"
	got, err := parseProcStat([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if want := (procStat{pid: 42, parent: 7, ticks: 37}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "42 name S 7", "x (n) S 7 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "42 (n) S 7", ") 42 ("} {
		if _, err := parseProcStat([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestTreeCountsThisProcess(t *testing.T) {
	if _, err := (tree{root: os.Getpid()}).cpu(); err != nil {
		t.Error(err)
	}
	if _, err := (tree{root: -1}).cpu(); err == nil {
		t.Error("a process that does not exist has used CPU time")
	}
}

func TestMemoryOf(t *testing.T) {
	got, err := memoryOf(os.Getpid(), "status", "VmRSS")
	if err != nil || got < 1<<20 {
		t.Errorf("this process occupies %d bytes, %v", got, err)
	}
	if _, err := memoryOf(os.Getpid(), "status", "NoSuchLine"); err == nil {
		t.Error("a line that does not exist was found")
	}
}
