#!/bin/sh
# The dice bot of dice.sh with plain nc. A fifo connects the output of dice.sh to the input of nc.
#
#   examples/dice-nc.sh [HOST [PORT]]
#   NICK=croupier ROOM=games examples/dice-nc.sh chat.example.org
#
# Any program that reads events and writes commands can take the place of dice.sh.

host=${1:-${HOST:-localhost}} port=${2:-${PORT:-5002}}

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
mkfifo "$folder/commands" || exit 1

nc "$host" "$port" <"$folder/commands" | "$(dirname "$0")/dice.sh" >"$folder/commands"
