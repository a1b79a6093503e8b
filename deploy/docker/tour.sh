#!/bin/sh
# The mesh of docker-compose.mesh.yml, shown: starts it, pings from region to region, kills the controller in use meanwhile,
# and replaces that by a new one. Leaves it running.
set -eu
cd "$(dirname "$0")/../.."

if docker compose version >/dev/null 2>&1; then compose() { docker compose -f docker-compose.mesh.yml "$@"; }
elif command -v docker-compose >/dev/null; then compose() { docker-compose -f docker-compose.mesh.yml "$@"; }
else echo 'tour: Docker Compose is not here; install docker-compose-plugin or docker-compose' >&2; exit 1; fi

title() { printf '\n--- %s\n' "$*"; }
fail() { printf 'tour: %s\n' "$*" >&2; compose ps >&2; exit 1; }

# Waits until all these are healthy; `up --wait` of old versions does not.
healthy() {
  seconds=0
  for service in "$@"; do
    until [ "$(docker inspect --format '{{.State.Health.Status}}' "$(compose ps -q "$service")")" = healthy ]; do
      if [ $seconds -ge 120 ]; then fail "$service is not healthy after 120 s"; fi
      sleep 1
      seconds=$((seconds + 1))
    done
  done
}

controller_of() {
  compose exec -T us overmesh client show "$1" --json | sed -n 's/.*"controller": *"\([^"]*\)".*/\1/p' | head -n 1
}

title 'three controllers, a client in eu and one in asia'
compose up --detach "$@"
healthy eu us asia web db
compose exec -T us overmesh controller list

title 'from region to region, through the overlay'
compose exec -T web ping -c 3 db.prod.internal

title 'docker compose kill asia, while web (in eu) pings db (on asia)'
echo "db is on $(controller_of db)"
pings=$(mktemp)
compose exec -T web ping -D -i 0.2 -c 75 -W 1 db.prod.internal > "$pings" &
pinging=$!
sleep 3
compose kill asia
wait $pinging || fail 'no ping was answered'
grep -v 'bytes from' "$pings" | tail -n 3
compose exec -T web ping -c 1 -W 2 db.prod.internal >/dev/null || fail 'db is not back'
awk -F '[][]' '/bytes from/ { if (last && $2 - last > gap) gap = $2 - last; last = $2 }
  END { printf "db was out of reach for %.1f s\n", gap; exit gap > 10 }' "$pings" || fail 'that is too long'
rm -f "$pings"
echo "db is on $(controller_of db)"

title 'asia removed with its volume, and replaced by a new controller'
compose rm --force --stop asia
project=$(docker inspect --format '{{index .Config.Labels "com.docker.compose.project"}}' "$(compose ps -q us)")
docker volume rm "${project}_asia"
compose up --detach --no-deps asia
healthy asia
compose exec -T asia overmesh controller list
compose exec -T web ping -c 3 db.prod.internal

title 'it goes on running'
echo 'docker compose -f docker-compose.mesh.yml exec us overmesh status'
echo 'docker compose -f docker-compose.mesh.yml down --volumes     # ends it and forgets it'
