#!/bin/sh
# Runs every fuzz target of the tree, one after another, for the time given (60s).
# What is found is kept below testdata/fuzz of its package: commit it with the repair.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
time=${1:-60s}

grep -rlE --include='*_test.go' '^func Fuzz[A-Z]' . | sort | while read -r file; do
	package=$(dirname "$file")
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r target; do
		echo "fuzz: $package $target for $time"
		"$go" test -run '^$' -fuzz "^$target\$" -fuzzminimizetime=20x -fuzztime "$time" "$package" || exit 1
	done || exit 1
done
