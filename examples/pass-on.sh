#!/bin/sh
# An outgoing hook: posts each message of a room to a URL, in order, without leaving any out.
#
#   examples/pass-on.sh ROOM URL [SERVER]
#   examples/pass-on.sh ops https://ci.example.org/chat http://localhost:5002
#   BODY='{text, username: .nick, gateway: "chat"}' examples/pass-on.sh ops http://localhost:4242/api/message
#
# Needs curl and jq. The id of the last message that the URL has accepted is saved in a file (STATE, default
# pass-on-ROOM.id): the next start continues after it; the first start begins with new messages. A message is posted
# again until the URL accepts it. It is skipped only if the answer says that it will never be accepted (a status of 400
# to 499, except 408 and 429). BODY is a filter of jq that makes the JSON from the message (http.md, 3); the default is
# the format of Mattermost's outgoing hooks, and the third line above is for matterbridge. LOGIN=nick:password reads an
# invite-only room. NOT=nick leaves out the messages of that nick, so that a bridge does not get its own messages back.

[ $# -ge 2 ] || { echo "usage: $0 ROOM URL [SERVER]" >&2; exit 2; }
room=${1#\#} url=$2 server=${3:-http://${HOST:-localhost}:${PORT:-5002}}
state=${STATE:-pass-on-$room.id}
body=${BODY:-'{channel_name: .room[1:], user_name: .nick, text, timestamp: .time, post_id: "\(.id)"}'}

# Reads the log of the room. The server sends something at least every 25 seconds. If nothing arrives for 90 seconds,
# the stream is dead.
log() {
  curl -fsSN ${LOGIN:+-u "$LOGIN"} --speed-limit 1 --speed-time 90 -H 'Accept: application/json' "$server/rooms/$room?$1"
}

keep() {
  printf '%s\n' "$1" > "$state.new" && mv "$state.new" "$state"
}

if [ ! -s "$state" ]; then
  newest=$(log count=1 | jq '.[-1].id // 0')
  [ -n "$newest" ] && keep "$newest" || exit 1
fi

post() {
  pause=1
  while :; do
    status=$(printf '%s' "$1" | curl -sS -o /dev/null -w '%{http_code}' --max-time 20 -H 'Content-Type: application/json' --data-binary @- "$url")
    case $status in
      2??) return ;;
      408 | 429) ;;
      4??) echo "pass-on.sh: $url does not take this ($status): $1" >&2; return ;;
    esac
    echo "pass-on.sh: $url answers $status; posting again in ${pause}s" >&2
    sleep "$pause"
    pause=$((pause < 30 ? pause * 2 : 60))
  done
}

while :; do
  log "follow&after=$(cat "$state")" |
    jq --unbuffered -c "select((.verb == \"MSG\" or .verb == \"ME\") and .nick != env.NOT) | (.id, ($body))" |
    while IFS= read -r id && IFS= read -r message; do
      post "$message"
      keep "$id" || exit 1
    done
  sleep 1 # the server is away, or is stopping
done
