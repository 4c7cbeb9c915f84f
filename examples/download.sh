#!/bin/sh
# Downloads a file by its number, checks it, and prints the name under which it was saved.
#
#   examples/download.sh NUMBER [SAVE_AS [HOST [PORT]]]
#
# FILES lists the numbers: printf 'FILES lobby\nBYE\n' | nc localhost 5002
# One line comes before the bytes: DATA <file> <length> <sha256> <name>. `read` takes exactly that line.

[ $# -ge 1 ] || { echo "usage: $0 NUMBER [SAVE_AS [HOST [PORT]]]" >&2; exit 2; }
number=$1 save_as=$2 host=${3:-${HOST:-localhost}} port=${4:-${PORT:-5002}}

printf 'DOWNLOAD %s\nBYE\n' "$number" | nc "$host" "$port" | {
  IFS=' ' read -r verb file length sha256 name
  if [ "$verb" != DATA ]; then
    echo "download.sh: ${verb:-no answer from $host port $port} $file $length $sha256 $name" >&2
    exit 1
  fi
  save_as=${save_as:-./$name} # the server sends no name with a slash; ./ guards one that begins with -
  if [ -e "$save_as" ]; then
    echo "download.sh: $save_as is there already" >&2
    exit 1
  fi
  part=$(mktemp "$save_as.XXXXXX") || exit 1
  trap 'rm -f "$part"' EXIT
  head -c "$length" >"$part"
  cat >/dev/null # the replies that follow
  if [ "$(sha256sum <"$part" | cut -c 1-64)" != "$sha256" ]; then
    echo "download.sh: $name came damaged or cut short" >&2
    exit 1
  fi
  mv -- "$part" "$save_as" && echo "$save_as"
}
