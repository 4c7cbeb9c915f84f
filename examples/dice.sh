#!/bin/sh
# A dice bot: answers "roll", "roll 20" and "roll 3d6" where it was asked, in a room or in private.
#
#   socat TCP:localhost:5002 EXEC:examples/dice.sh
#   NICK=croupier ROOM=games socat TCP:localhost:5002 EXEC:examples/dice.sh
#
# socat connects the script's input and output to the server: it reads events and writes commands.
# With nc in place of socat: examples/dice-nc.sh

# A number from 1 to $1.
die() {
  echo $(($(od -An -N4 -tu4 /dev/urandom) % $1 + 1))
}

# Succeeds if $1 is a number from 1 to 999. This is checked before the shell computes with text from a stranger.
is_number() {
  case $1 in '' | *[!0-9]* | 0* | ????*) return 1 ;; esac
}

# The sum of "$1" dice of "$2" sides.
roll() {
  is_number "$1" && is_number "$2" && [ "$1" -le 20 ] || { echo 'try "roll 3d6", at most 20d999'; return; }
  sum=0 shown=
  for _ in $(seq "$1"); do
    n=$(die "$2")
    sum=$((sum + n)) shown="$shown${shown:+ + }$n"
  done
  [ "$1" -gt 1 ] && shown="$shown = $sum"
  echo "$shown"
}

# NICK comes first, since a closed room accepts only nicks. PART leaves the lobby, which every new nick joins.
echo "NICK ${NICK:-dice}"
echo PART
echo "JOIN ${ROOM:-lobby}"
while IFS=' ' read -r verb place nick text; do
  case $verb in
    ERR) # ERR <verb> <code> <text>
      echo "dice.sh: $place: $nick $text" >&2
      [ "$place" = NICK ] && { echo BYE; exit 1; }
      continue ;;
    MSG) ;;
    *) continue ;;
  esac
  case $text in
    roll) answer=$(roll 1 6) ;;
    "roll "*d*) wish=${text#roll } answer=$(roll "${wish%%d*}" "${wish#*d}") ;;
    "roll "*) answer=$(roll 1 "${text#roll }") ;;
    *) continue ;;
  esac
  case $place in
    '#'*) printf 'TELL %s %s: %s\n' "$place" "$nick" "$answer" ;;
    *) printf 'TELL %s %s\n' "$nick" "$answer" ;;
  esac
done
