#!/bin/sh
# Prints each message of a room that contains a word, in capitals or small letters: who mentions me, which build failed?
#
#   examples/watch.sh WORD [ROOM [HOST [PORT]]]
#   examples/watch.sh deploy ops | while IFS=' ' read -r _ room nick text; do notify-send "$nick" "$text"; done
#
# It joins without a nick, so nobody sees it and it is in no list. STAY keeps the events coming on an nc
# that tells the server that its input has ended. Without --line-buffered, grep would print nothing until
# some 4 KiB had come together.

[ $# -ge 1 ] || { echo "usage: $0 WORD [ROOM [HOST [PORT]]]" >&2; exit 2; }
word=$1 room=${2:-lobby} host=${3:-${HOST:-localhost}} port=${4:-${PORT:-5002}}

printf 'JOIN %s\nSTAY\n' "$room" | nc "$host" "$port" |
  grep --line-buffered -E '^(MSG|ME) ' |
  grep --line-buffered -i -F -e "$word"
