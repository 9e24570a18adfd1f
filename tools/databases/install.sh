#!/usr/bin/env bash
# Installs what `npm test` needs to test the stores against real databases, on Debian and its kin: PostgreSQL, and
# mongo-java-server with Java where there is no mongod. What is there already is left alone.
#
#   install.sh             everything; packages only as root
#   install.sh --packages  only the packages, for root on behalf of another user
#
#   TEST_MONGODB_JARS      the folder of mongo-java-server; by default below ${XDG_CACHE_HOME:-~/.cache}
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}/.cache}
folder=${TEST_MONGODB_JARS:-$cache/open-responses/mongo-java-server-1.47.0}
java_major=17
packages=()
apt_options=(-qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0)

has_postgres() {
  local bin
  for bin in ${PATH//:/ } /usr/lib/postgresql/*/bin; do
    if [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ]; then return 0; fi
  done
  return 1
}

has_jdk() {
  local version
  command -v java >/dev/null && command -v javac >/dev/null || return 1
  version=$(javac -version 2>&1 | sed -nE 's/^javac ([0-9]+).*/\1/p')
  [ "${version:-0}" -ge "$java_major" ]
}

has_jars() {
  (cd "$folder/jars" && sha256sum --check --strict --status "$here/SHA256SUMS") 2>/dev/null
}

# The folder is named after the source, so that a launcher that was changed is compiled again.
launcher=$folder/launcher-$(sha256sum "$here/Launcher.java" | cut -c1-12)

has_launcher() {
  [ -e "$launcher/Launcher.class" ]
}

is_offered() {
  apt-cache policy "$1" 2>/dev/null | grep -qE '^ +Candidate: [^(]'
}

# PostgreSQL's package would start a server of its own on port 5432, and at every boot from then on.
settings=/etc/postgresql-common/createcluster.conf
install_postgres() {
  apt_install postgresql-common
  cp "$settings" "$settings.open-responses"
  trap 'mv -f "$settings.open-responses" "$settings"' EXIT
  echo 'create_main_cluster = false' >>"$settings"
  apt_install postgresql
  mv -f "$settings.open-responses" "$settings"
  trap - EXIT
}

install_jdk() {
  local package=openjdk-$java_major-jdk-headless
  is_offered "$package" || package=default-jdk-headless
  apt_install "$package"
  trust_what_the_system_trusts
}

# Java keeps certificates of its own. The package fills them in, but not with those that were added to the system by
# hand, as it is done behind a proxy, and then Maven reaches nobody.
trust_what_the_system_trusts() {
  local hook=/etc/ca-certificates/update.d/jks-keystore
  if [ -x "$hook" ]; then find /etc/ssl/certs -maxdepth 1 -name '*.pem' | sed 's/^/+/' | "$hook" >/dev/null; fi
}

# Settings that somebody has put there are kept: nobody is there to be asked. What apt writes is shown if it fails.
apt_install() {
  local written
  written=$(DEBIAN_FRONTEND=noninteractive apt-get "${apt_options[@]}" -o Dpkg::Options::=--force-confdef \
    -o Dpkg::Options::=--force-confold install -y --no-install-recommends "$@" </dev/null 2>&1) || {
    echo "$written" >&2
    return 1
  }
}

# What is half done stays out of sight, and is removed if this ends before its time.
make_room() {
  mkdir -p "$folder"
  room=$(mktemp -d "$folder/unfinished-XXXXXX")
  trap 'rm -rf "$room"' EXIT
}

fetch_jars() {
  make_room
  local fetched=$room/jars
  mvn -q -B -Dstyle.color=never --strict-checksums -f "$here/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$fetched" </dev/null
  (cd "$fetched" && sha256sum --check --strict --quiet "$here/SHA256SUMS")
  rm -rf "$folder/jars"
  mv "$fetched" "$folder/jars"
  rm -rf "$room"
}

compile_launcher() {
  make_room
  local compiled=$room/launcher
  javac --release "$java_major" -cp "$folder/jars/*" -d "$compiled" "$here/Launcher.java"
  rm -rf "$launcher"
  mv "$compiled" "$launcher"
  rm -rf "$room"
}

case ${1-} in
  '' | --packages) ;;
  *) echo "usage: $0 [--packages]" >&2 && exit 2 ;;
esac

needs_java=false
command -v mongod >/dev/null || needs_java=true
has_postgres || packages+=(postgresql)
if "$needs_java"; then
  has_jdk || packages+=(jdk)
  has_jars || command -v mvn >/dev/null || packages+=(maven)
fi

if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "Missing: ${packages[*]}. Run this first, then this script again: sudo $0 --packages" >&2
    exit 1
  fi
  if ! command -v apt-get >/dev/null; then
    echo "There is no apt-get here. Install by your system's own means: ${packages[*]}" >&2
    exit 1
  fi
  echo "Installing: ${packages[*]}"
  apt-get "${apt_options[@]}" update
  for package in "${packages[@]}"; do
    case $package in
      postgresql) install_postgres ;;
      jdk) install_jdk ;;
      *) apt_install "$package" ;;
    esac
  done
fi

[ "${1-}" != --packages ] || exit 0

if "$needs_java"; then
  has_jars || fetch_jars
  has_launcher || compile_launcher
fi
echo "The databases for npm test are there: PostgreSQL, and $("$needs_java" && echo "mongo-java-server in $folder" || echo mongod)."
