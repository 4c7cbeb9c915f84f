#!/bin/sh
# Posts one message, for example from cron, from CI, or at the end of a long command.
#
#   examples/post.sh ROOM TEXT...
#   make dist; HOST=chat.example.org NICK=ci examples/post.sh ops "build ended with $?"
#
# Exit code 0: the server has saved it. 1: it was refused, or the server did not answer within 10 seconds;
# standard error says why. TELL sends to a room without joining it, so nobody sees it join and leave.

[ $# -ge 2 ] || { echo "usage: $0 ROOM TEXT..." >&2; exit 2; }
host=${HOST:-localhost} port=${PORT:-5002} nick=${NICK:-post-$$} room=${1#\#}
shift
text=$(printf '%s' "$*" | tr '\r\n' '  ') # one line is one message

reply=$(printf 'NICK %s\nTELL #%s %s\nBYE\n' "$nick" "$room" "$text" | timeout 10 nc "$host" "$port")
if printf '%s\n' "$reply" | grep -q '^OK TELL '; then
  exit 0
fi
why=$(printf '%s\n' "$reply" | grep -v '^OK ')
echo "post.sh: not kept: ${why:-no answer from $host port $port}" >&2
exit 1
