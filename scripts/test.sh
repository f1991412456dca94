#!/bin/bash
# Vets and tests the whole tree: `go vet ./...`, then `go test ./...`.
#
# Go's own lines are printed as they come, one a package. Of a package that
# passed, the tests that were skipped are named as well, with the reason, so that nobody
# takes a skipped test for a passed one; of one that failed, what the failed tests said. With CI=true
# nothing is skipped: what is absent fails.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}

if [ "$(id -u)" -ne 0 ] && [ "${CI:-}" != true ]; then
	echo "test: not root, so tests against a real Postfix and Exim are skipped, and named below"
fi

"$go" vet ./...

# -timeout bounds one package. The longest are those that start real servers.
"$go" test -v -timeout 10m ${TESTPACKAGES:-./...} 2>&1 | awk '
	# Of a package that failed: what its failed tests said, and what belongs to no
	# test (a panic); of one that ended without naming a failed test, everything.
	function say(   i) {
		for (i = 0; i < n; i++)
			if (owner[i] == "" || owner[i] in failed || !named) print held[i]
	}
	function forget() { n = named = 0; skipped = now = ""; split("", failed); split("", why) }
	function hold(who) { owner[n] = who; held[n++] = $0 }
	/^# / { compiler = 1 }
	/^(=== |--- |ok  \t|FAIL|PASS|\?   \t)/ { compiler = 0 }
	compiler { print; next }
	/^ok  \t/ { printf "%s%s\n", skipped, $0; fflush(); forget(); next }
	/^\?   \t/ { print; fflush(); forget(); next }
	/^FAIL($|\t)/ { say(); printf "%s%s\n", skipped, $0; fflush(); forget(); next }
	/^=== / { now = $3; if ($2 == "RUN" || $2 == "NAME") hold(now); next }
	/^ *--- FAIL: / { failed[$3] = named = 1; hold(now = ""); next }
	/^ *--- PASS: / { now = ""; next }
	/^ *--- SKIP: Fuzz.*\/seed#/ { next } # an input that the target does not mean
	/^ *--- SKIP: / { skipped = skipped "skipped: " $3 (why[$3] == "" ? "" : ": " why[$3]) "\n"; now = ""; next }
	/^panic: / { now = "" }
	/^ +[a-z_0-9]+\.go:[0-9]+: / { why[now] = $0; sub(/^ +[a-z_0-9]+\.go:[0-9]+: (SKIPPED, )?/, "", why[now]) }
	{ hold(now) }
	END { say() }
'
