#!/bin/sh
# Copies the messages of each of two rooms to the other.
#
#   A=ops B=dev socat TCP:localhost:5002 EXEC:examples/bridge.sh
#
# A client gets no copy of its own messages, so a bridge does not copy itself. The nicks of all bridges begin with
# "bridge", and no bridge copies the messages of such a nick, so several bridges between the same rooms do no harm.

nick=${NICK:-bridge-$$} a='' b=''
# NICK comes first, since closed rooms accept only nicks. PART leaves the lobby, which every new nick joins.
printf 'NICK %s\nPART\nJOIN %s\nJOIN %s\n' "$nick" "${A:?which room}" "${B:?which other room}"

while IFS= read -r line; do
  # verb, room, nick and text, with every space of the text kept
  verb=${line%% *} rest=${line#* }
  room=${rest%% *} rest=${rest#* }
  from=${rest%% *} text=${rest#* }
  case "$verb $room" in
    "OK JOIN") # OK JOIN <room> <id>: the room as the server spells it
      if [ -z "$a" ]; then a=$from; else b=$from; fi
      continue ;;
    ERR\ *)
      echo "bridge.sh: $line" >&2
      case $room in JOIN | NICK) echo BYE; exit 1 ;; esac
      continue ;;
    "MSG $a") to=$b ;;
    "MSG $b") to=$a ;;
    *) continue ;;
  esac
  case $from in
    [Bb][Rr][Ii][Dd][Gg][Ee]*) ;;
    *) printf 'TELL %s <%s> %s\n' "$to" "$from" "$text" ;;
  esac
done
