#!/bin/sh
# Runs `overmesh "$@"`. Before `up`, an empty data directory becomes that of a controller:
#
#   OVERMESH_JOIN_TOKEN_FILE  a file with what `overmesh invite` printed: this controller joins by it
#   OVERMESH_RENDEZVOUS       a directory that the controllers of one mesh share: the first to come founds the mesh, the
#                             others are invited through it; see desk.sh
#   OVERMESH_MESH, OVERMESH_SUBNET, OVERMESH_SUBNET6   of a mesh to be founded: its name, its prefix, and IPv6 if wanted
#   OVERMESH_CONTROLLER       name of this controller (default: the host name)
#   OVERMESH_PUBLIC           what clients and peers dial: HOST[:PORT], several separated by spaces; at the first start alone,
#                             later it is `overmesh controller move`
set -eu
umask 077
data=${OVERMESH_DATA:=/var/lib/overmesh}
shared=${OVERMESH_RENDEZVOUS:-}
name=${OVERMESH_CONTROLLER:=$(hostname)}
export OVERMESH_DATA OVERMESH_CONTROLLER

say() { printf 'overmesh-entrypoint: %s\n' "$*" >&2; }

# What an `init` or `join` that was killed left was never a controller, as config.json is written last: it goes. One that ran
# has events and more; that, a restore that was cut short, and other people's files are not ours to delete, nor to own.
if [ "${1:-up}" = up ] && [ ! -f "$data/config.json" ]; then
  for each in "$data"/* "$data"/.[!.]*; do
    case ${each##*/} in
      identity.key | authority | pki | secrets | arriving | clients | state | *.tmp | lost+found) ;;
      '*' | '.[!.]*') ;;
      restored.json) say "a restore into $data was cut short; run it again"; exit 2 ;;
      *) say "$data has ${each##*/} but no config.json; restore a backup into an empty volume, or give it another one"; exit 2 ;;
    esac
  done
fi

if [ "$(id -u)" = 0 ]; then
  # Volumes and devices come as their host has them.
  for directory in "$data" "$shared" "${OVERMESH_PACK_DIR:-}"; do
    if [ -z "$directory" ]; then continue; fi
    mkdir -p "$directory"
    if [ "$(stat -c %U "$directory")" != overmesh ]; then chown -R overmesh:overmesh "$directory"; fi
    chmod 0700 "$directory"
  done
  # A token that only its owner could read on the host.
  if [ -n "${OVERMESH_JOIN_TOKEN_FILE:-}" ] && [ ! -f "$data/config.json" ]; then
    install -m 0400 -o overmesh -g overmesh "$OVERMESH_JOIN_TOKEN_FILE" /run/overmesh-token
    export OVERMESH_JOIN_TOKEN_FILE=/run/overmesh-token
  fi
  if [ -c /dev/net/tun ]; then chmod a+rw /dev/net/tun || say 'no access to /dev/net/tun'; fi
  exec overmesh-as-user tini -- "$0" "$@"
elif [ $$ = 1 ]; then
  exec tini -- "$0" "$@"
fi

if [ "${1:-up}" != up ]; then exec overmesh "$@"; fi

# init and join as the environment says: "$1" is the name, further arguments come first.
make() {
  as=$1
  shift
  for each in ${OVERMESH_PUBLIC:-}; do set -- "$@" --public "$each"; done
  overmesh "$@" --controller "$as"
}

found() {
  if [ -z "${OVERMESH_MESH:-}" ] || [ -z "${OVERMESH_SUBNET:-}" ]; then
    say "$data is empty; set OVERMESH_MESH and OVERMESH_SUBNET to found a mesh, or OVERMESH_JOIN_TOKEN_FILE to join one"
    exit 2
  fi
  set -- --name "$OVERMESH_MESH" --subnet "$OVERMESH_SUBNET"
  if [ -n "${OVERMESH_SUBNET6:-}" ]; then set -- "$@" --subnet6 "$OVERMESH_SUBNET6"; fi
  make "$name" init "$@"
}

# Takes the right to found, or finds it taken. A link is made whole or not at all.
first() {
  printf '%s\n' "$name" > "$shared/.founder.$name"
  ln "$shared/.founder.$name" "$shared/founder" 2>/dev/null || true
  rm -f "$shared/.founder.$name"
  [ "$(cat "$shared/founder")" = "$name" ]
}

# Leaves the key of the mesh root, encrypted, where whoever is to invite finds it.
open_rendezvous() {
  head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$shared/passphrase"
  overmesh authority export --force --out "$shared/root.pem" --passphrase-file "$shared/passphrase"
  : > "$shared/founded"
}

# Asks whoever answers for an invitation, and joins by it. Names are never used twice: the controller that had ours may
# only seem gone, and the credentials that it issued are good as long as it is in the mesh.
join_through_desk() {
  mkdir -p "$shared/wanted" "$shared/invited"
  number=1
  as=$name
  while :; do
    request=$as.$(head -c 8 /dev/urandom | od -An -tx1 | tr -d ' \n')
    : > "$shared/wanted/$request"
    waited=0
    while [ ! -f "$shared/invited/$request" ] && [ $waited -lt 60 ]; do
      if [ $((waited % 20)) = 0 ]; then say "waiting for an invitation as $as"; fi
      sleep 1
      waited=$((waited + 1))
    done
    rm -f "$shared/wanted/$request"
    if [ ! -f "$shared/invited/$request" ]; then continue; fi
    token=$(cat "$shared/invited/$request")
    rm -f "$shared/invited/$request"
    if answer=$(make "$as" join "$token" 2>&1); then
      printf '%s\n' "$answer" >&2
      return
    fi
    printf '%s\n' "$answer" >&2
    case $answer in
      *'is in the mesh already'*) number=$((number + 1)); as=$name-$number ;;
    esac
    sleep 1
  done
}

if [ ! -f "$data/config.json" ]; then
  # Nothing else is there; see above.
  find "$data" -mindepth 1 -delete
  if [ -n "${OVERMESH_JOIN_TOKEN_FILE:-}" ]; then
    make "$name" join "$(cat "$OVERMESH_JOIN_TOKEN_FILE")"
  elif [ -z "$shared" ]; then
    found
  elif [ ! -f "$shared/founded" ] && first; then
    found
    open_rendezvous
  else
    join_through_desk
  fi
elif [ -n "$shared" ] && [ ! -f "$shared/founded" ] && [ -f "$data/authority/root.key" ]; then
  # It was killed between the two.
  open_rendezvous
fi

if [ -n "$shared" ]; then overmesh-desk & fi
exec overmesh "$@"
