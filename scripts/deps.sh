#!/bin/sh
# Installs what `make test` and `make bench` use beyond Go:
#
#   postfix, swaks   as Debian packages
#   exim             unpacked into .deps/exim, because it conflicts with postfix as a
#                    package; with it the libraries that this machine lacks
#
# It may be run as often as one likes and does nothing where all is there. What
# it may not do (no apt-get, not root) it says and leaves: tests that need an
# absent server are skipped, or fail where CI=true.
set -eu
cd "$(dirname "$0")/.."

say() { echo "deps: $*"; }

# Debian's exim wants its user. Tests show it one in a mount namespace; where
# that is not allowed (most containers), the user must really be there.
exim_has_user() { getent passwd Debian-exim >/dev/null 2>&1 || unshare -m true 2>/dev/null; }

missing=
[ -x /usr/sbin/postfix ] || command -v postfix >/dev/null 2>&1 || missing="$missing postfix"
command -v swaks >/dev/null 2>&1 || missing="$missing swaks"
{ [ -e .deps/exim/complete ] && exim_has_user; } || missing="$missing exim"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg >/dev/null 2>&1; then
	say "skipping$missing: this is not Debian; install them by hand if you want the tests that use them"
	exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
	say "skipping$missing: only root may install (and run) them"
	exit 0
fi

# The lists are fetched only if something cannot be found in those at hand.
updated=
update() {
	[ -z "$updated" ] || return 1
	updated=yes
	say "fetching the package lists"
	apt-get update -qq
}

install_packages() {
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >.deps/apt.log 2>&1
}

# fetch downloads packages into the working folder without installing them.
fetch() {
	apt-get download -qq -o APT::Sandbox::User=root "$@" >/dev/null 2>&1
}

mkdir -p .deps

packages=
for p in $missing; do
	[ "$p" = exim ] || packages="$packages $p"
done
if [ -n "$packages" ]; then
	say "installing$packages"
	# No configuration: tests bring their own, and nothing begins to listen here.
	if command -v debconf-set-selections >/dev/null 2>&1; then
		echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
	fi
	# shellcheck disable=SC2086 # a list of names
	install_packages $packages || { update && install_packages $packages; } || {
		tail -n 20 .deps/apt.log
		say "could not install$packages"
		exit 1
	}
fi

# lacks says whether the unpacked exim still misses libraries.
lacks() {
	libs=$(find "$PWD/exim" -name '*.so*' -exec dirname {} \; | sort -u | paste -s -d : -)
	LD_LIBRARY_PATH=$libs ldd exim/usr/sbin/exim4 | grep -q 'not found'
}

unpack_exim() (
	rm -rf .deps/exim .deps/fetch
	mkdir -p .deps/exim .deps/fetch
	cd .deps
	(cd fetch && { fetch exim4-daemon-light || { update && fetch exim4-daemon-light; }; })
	dpkg -x fetch/*.deb exim
	# Libraries that are not installed are unpacked as well: those that exim names, then those that these name.
	of=exim4-daemon-light
	while [ -n "$of" ] && lacks; do
		next=
		# shellcheck disable=SC2086 # a list of names
		for lib in $(apt-cache depends $of | sed -n 's/^ *|*Depends: \(lib.*\)/\1/p' | sort -u); do
			dpkg-query -W -f '${Status}' "$lib" 2>/dev/null | grep -q ' installed$' && continue
			ls fetch/"$lib"_*.deb >/dev/null 2>&1 && continue
			(cd fetch && fetch "$lib") || continue
			dpkg -x fetch/"$lib"_*.deb exim
			next="$next $lib"
		done
		of=$next
	done
	rm -rf fetch
	if lacks; then
		say "exim lacks libraries"
		exit 1
	fi
	chmod u-s exim/usr/sbin/exim4 # tests start it as root; nobody else may
	touch exim/complete
)
if [ ! -e .deps/exim/complete ]; then
	say "unpacking exim into .deps/exim"
	unpack_exim || {
		say "could not unpack exim"
		exit 1
	}
fi
if ! exim_has_user; then
	say "making the system user Debian-exim"
	useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin Debian-exim
fi
