#!/bin/sh
# Uploads a file to a room and prints its number, with which anybody can download it.
#
#   examples/upload.sh FILE [ROOM [HOST [PORT]]]
#
# The line that announces the file says how many bytes follow, and their SHA-256, so a broken
# transfer is refused as a whole. Works with any nc, but not with `nc -C`, which alters bytes.

[ $# -ge 1 ] && [ -f "$1" ] || { echo "usage: $0 FILE [ROOM [HOST [PORT]]]" >&2; exit 2; }
file=$1 room=${2:-lobby} host=${3:-${HOST:-localhost}} port=${4:-${PORT:-5002}}
name=$(basename -- "$file" | tr '\r\n' '  ')
length=$(($(wc -c <"$file")))
sha256=$(sha256sum <"$file" | cut -c 1-64)

reply=$({
  # A closed room accepts only nicks. PART leaves the lobby, which every new nick joins.
  printf 'NICK %s\nPART\nJOIN %s\nUPLOAD %s %s %s\n' "${NICK:-up-$$}" "$room" "$name" "$length" "$sha256"
  head -c "$length" <"$file" # no more than announced, even if the file is growing
  printf 'BYE\n'
} | nc "$host" "$port")

number=$(printf '%s\n' "$reply" | sed -n 's/^OK UPLOAD \([0-9]*\) .*/\1/p')
if [ -z "$number" ]; then
  why=$(printf '%s\n' "$reply" | grep -v '^OK ')
  echo "upload.sh: not kept: ${why:-no answer from $host port $port}" >&2
  exit 1
fi
echo "$number"
