#!/bin/sh
# Prints each message of a room that contains a word, in upper or lower case: for example your nick, or "failed".
#
#   examples/watch.sh WORD [ROOM [HOST [PORT]]]
#   examples/watch.sh deploy ops | while IFS=' ' read -r _ room nick text; do notify-send "$nick" "$text"; done
#
# It joins without a nick, so nobody sees it and it is in no list. Some versions of nc tell the server that their input
# has ended; with STAY, the server keeps sending events. Without --line-buffered, grep would print nothing until it had
# about 4 KiB.

[ $# -ge 1 ] || { echo "usage: $0 WORD [ROOM [HOST [PORT]]]" >&2; exit 2; }
word=$1 room=${2:-lobby} host=${3:-${HOST:-localhost}} port=${4:-${PORT:-5002}}

printf 'JOIN %s\nSTAY\n' "$room" | nc "$host" "$port" |
  grep --line-buffered -E '^(MSG|ME) ' |
  grep --line-buffered -i -F -e "$word"
