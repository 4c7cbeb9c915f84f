#!/bin/sh
# Sends each line that is added to a file to a room, for as long as it runs.
#
#   examples/tail-log.sh FILE [ROOM [HOST [PORT]]]
#   LINES_BEFORE=10 NICK=web1 examples/tail-log.sh /var/log/nginx/error.log ops
#
# MSG before each line makes it a message whatever it contains: a log line "BYE" does not end the connection.
# Lines that the server would refuse are changed first, so that none is lost: bytes that are not UTF-8 become "?",
# and a long line is sent in pieces. `sed -u` passes on each line at once. Refusals go to standard error.

[ $# -ge 1 ] || { echo "usage: $0 FILE [ROOM [HOST [PORT]]]" >&2; exit 2; }
file=$1 room=${2:-lobby} host=${3:-${HOST:-localhost}} port=${4:-${PORT:-5002}}
mark=$(printf '\001')

{
  printf 'NICK %s\nPART\nJOIN %s\n' "${NICK:-log}" "$room" # a closed room lets in only nicks
  tail -n "${LINES_BEFORE:-0}" -F -- "$file" |
    # In UTF-8, `.*` stops at a bad byte. A line that `.*` does not match as a whole gets a mark, and in marked lines
    # each byte that is not ASCII becomes "?". 1000 characters are at most 4000 bytes; a command may have 4096,
    # including MSG and the line ending.
    LC_ALL=C.UTF-8 sed -u -e "s/$mark//g" -e "/^.*\$/!s/^/$mark/" |
    LC_ALL=C sed -u -e "/^$mark/{s/[^ -~]/?/g;s/^?//;}" |
    LC_ALL=C.UTF-8 sed -u -E -e '/^[[:space:][:cntrl:]]*$/d' -e 's/.{1000}/&\nMSG /g' -e 's/\nMSG $//' -e 's/^/MSG /'
} | nc "$host" "$port" | grep --line-buffered -E '^(ERR|CLOSED) ' >&2
