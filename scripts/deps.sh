#!/bin/sh
# Installs what `make test` and `make bench` use beyond Go:
#
#   postfix, swaks, slapd, samba (as AD domain controller), postgresql, mariadb
#                    as Debian packages; none of them is started as a service
#   python3-dkim     a package too: it signs and verifies what we verify and sign
#   exim, sendmail, opensmtpd
#                    unpacked into .deps/exim and so on, because they conflict with
#                    postfix as packages; with them the libraries that this machine lacks
#   postsrsd, opendkim, libfaketime
#                    unpacked too, because those would become services, and the last is
#                    only a library: it shows exim and postsrsd another day
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
[ -x /usr/sbin/slapd ] || missing="$missing slapd"
command -v ldapadd >/dev/null 2>&1 || missing="$missing ldap-utils"
[ -x /usr/sbin/samba ] || missing="$missing samba-ad-dc"
[ -d /usr/share/samba/setup ] || missing="$missing samba-ad-provision"
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
[ -x /usr/sbin/mariadbd ] || missing="$missing mariadb-server-core"
[ -x /usr/bin/dkimverify ] || missing="$missing python3-dkim"
# Postfix's maps that `make bench` is measured beside.
postconf -m 2>/dev/null | grep -qx lmdb || missing="$missing postfix-lmdb"
postconf -m 2>/dev/null | grep -qx cdb || missing="$missing postfix-cdb"
{ [ -e .deps/exim/complete ] && exim_has_user; } || missing="$missing exim"
for p in sendmail opensmtpd postsrsd opendkim faketime; do
	[ -e .deps/$p/complete ] || missing="$missing $p"
done
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

# A package's installation may want to start its service, and mend one that runs
# already; the tests bring their own. Where nobody says what may start, we do for that while.
policy=/usr/sbin/policy-rc.d
install_packages() {
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
		trap 'rm -f $policy' EXIT
	fi
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >.deps/apt.log 2>&1
}

# fetch downloads packages into the working folder without installing them.
fetch() {
	apt-get download -qq -o APT::Sandbox::User=root "$@" >/dev/null 2>&1
}

mkdir -p .deps

packages=
for p in $missing; do
	case $p in
	exim | sendmail | opensmtpd | postsrsd | opendkim | faketime) ;;
	*) packages="$packages $p" ;;
	esac
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

# lacks FOLDER PROGRAM...: says whether an unpacked program still misses libraries.
lacks() {
	folder=$1
	shift
	libs=$(find "$PWD/$folder" -name '*.so*' -exec dirname {} \; | sort -u | paste -s -d : -)
	for program in "$@"; do
		LD_LIBRARY_PATH=$libs ldd "$folder/$program" | grep -q 'not found' && return 0
	done
	return 1
}

# unpack FOLDER "PACKAGES" PROGRAM...: unpacks packages into .deps/FOLDER, and with them
# the libraries that the programs lack: those that the packages name, then those that these name.
unpack() (
	folder=$1 of=$2
	shift 2
	rm -rf ".deps/$folder" .deps/fetch
	mkdir -p ".deps/$folder" .deps/fetch
	cd .deps
	# shellcheck disable=SC2086 # a list of names
	(cd fetch && { fetch $of || { update && fetch $of; }; })
	for deb in fetch/*.deb; do
		dpkg -x "$deb" "$folder"
	done
	for program in "$@"; do # tests start it as root; nobody else may
		chmod u-s,g-s "$folder/$program"
	done
	while [ -n "$of" ] && lacks "$folder" "$@"; do
		next=
		# shellcheck disable=SC2086 # a list of names
		for lib in $(apt-cache depends $of | sed -n 's/^ *|*Depends: \(lib.*\)/\1/p' | sort -u); do
			dpkg-query -W -f '${Status}' "$lib" 2>/dev/null | grep -q ' installed$' && continue
			ls fetch/"$lib"_*.deb >/dev/null 2>&1 && continue
			(cd fetch && fetch "$lib") || continue
			dpkg -x fetch/"$lib"_*.deb "$folder"
			next="$next $lib"
		done
		of=$next
	done
	rm -rf fetch
	if lacks "$folder" "$@"; then
		say "$folder lacks libraries"
		exit 1
	fi
	touch "$folder/complete"
)

# unpacked FOLDER ...: unpack, where it was not done before.
unpacked() {
	[ -e ".deps/$1/complete" ] && return
	say "unpacking $1 into .deps/$1"
	unpack "$@" || {
		say "could not unpack $1"
		exit 1
	}
}
unpacked exim exim4-daemon-light usr/sbin/exim4
unpacked sendmail "sendmail-bin sendmail-cf m4" usr/libexec/sendmail/sendmail usr/sbin/makemap usr/bin/m4
unpacked opensmtpd opensmtpd usr/sbin/smtpd usr/sbin/smtpctl
unpacked postsrsd postsrsd usr/sbin/postsrsd
unpacked opendkim opendkim usr/sbin/opendkim
unpacked faketime libfaketime "usr/lib/$(uname -m)-linux-gnu/faketime/libfaketime.so.1"
if ! exim_has_user; then
	say "making the system user Debian-exim"
	useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin Debian-exim
fi
