#!/bin/bash
# Vets and tests the whole tree: `go vet ./...`, then `go test ./...`.
#
# Go's own lines are printed as they come, one a package. Of a package that
# passed, the tests that were skipped are named as well, with the reason, so that nobody
# takes a skipped test for a passed one; of one that failed, everything is. With CI=true
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
	function say(   i) { for (i = 0; i < n; i++) print held[i] }
	function forget() { n = 0; skipped = "" }
	/^# / { compiler = 1 }
	/^(=== |--- |ok  \t|FAIL|PASS|\?   \t)/ { compiler = 0 }
	compiler { print; next }
	/^ok  \t/ { printf "%s%s\n", skipped, $0; fflush(); forget(); next }
	/^\?   \t/ { print; fflush(); forget(); next }
	/^FAIL($|\t)/ { say(); print; fflush(); forget(); next }
	/^=== (PAUSE|CONT) / || /^ *--- PASS: / { next }
	/^=== / { if (n > 0 && held[n-1] ~ /^=== /) n-- } # a test that said nothing
	{ held[n++] = $0 }
	/^=== / { reason = ""; next }
	/^ *--- SKIP: Fuzz.*\/seed#/ { next } # an input that the target does not mean
	/^ *--- SKIP: / { skipped = skipped "skipped: " $3 (reason == "" ? "" : ": " reason) "\n"; reason = ""; next }
	/^ +[a-z_0-9]+\.go:[0-9]+: / { reason = $0; sub(/^ +[a-z_0-9]+\.go:[0-9]+: (SKIPPED, )?/, "", reason) }
	END { say() }
'
