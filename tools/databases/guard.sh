#!/bin/sh
# guard.sh FOLDER SIGNAL
#
# Waits until its standard input closes: whoever holds the other end is done with FOLDER, or has died in any way at all.
# Then it ends the server whose pid is in FOLDER/server.pid with SIGNAL, and removes FOLDER. So a test server never
# outlives the tests that started it.
set -u
trap '' HUP INT QUIT TERM
PATH=$PATH:/usr/bin:/bin:/usr/sbin:/sbin

folder=$1
signal=$2
case $folder in
  */open-responses-database-*) ;;
  *) echo "guard.sh: not a folder of the tests: $folder" >&2 && exit 2 ;;
esac

while read -r _; do :; done

pid=$(cat "$folder/server.pid" 2>/dev/null)

# By now the pid may be another's, so the command line has to name the folder.
is_running() {
  [ -n "$pid" ] || return 1
  { tr '\0' ' ' <"/proc/$pid/cmdline" || ps -o args= -p "$pid"; } 2>/dev/null | grep -qF -- "$folder"
}

if is_running; then
  # Tests may have halted it. Where its children can't be listed, it ends a little later.
  # shellcheck disable=SC2046
  kill -CONT $(cat "/proc/$pid/task/$pid/children" 2>/dev/null) "$pid" 2>/dev/null
  kill "-$signal" "$pid" 2>/dev/null
  tries=0
  while [ "$tries" -lt 600 ] && is_running; do
    tries=$((tries + 1))
    if [ "$tries" -eq 500 ]; then kill -KILL "$pid" 2>/dev/null; fi
    sleep 0.02
  done
fi

# A PostgreSQL that was killed leaves a small segment of shared memory behind; its number is in the seventh line.
segment=$(sed -n '7s/^ *[0-9]* *//p' "$folder/data/postmaster.pid" 2>/dev/null)
if [ -n "$segment" ]; then ipcrm -m "$segment" 2>/dev/null; fi

# What the server's last processes write at their end may come in between.
tries=0
while [ "$tries" -lt 100 ] && ! rm -rf "$folder" 2>/dev/null; do
  tries=$((tries + 1))
  sleep 0.02
done
[ ! -e "$folder" ]
