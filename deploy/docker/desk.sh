#!/bin/sh
# What a running controller does for those who share a directory with it: it invites controllers that ask, and hands out the
# packs of its clients.
#
#   OVERMESH_RENDEZVOUS   the directory. Whoever can write there becomes a controller, and the key of the mesh root lies there
#                         (encrypted, with its passphrase beside it): it is to the containers of one mesh what a safe is elsewhere
#   OVERMESH_PACKS        names of clients, separated by spaces, whose packs are written to OVERMESH_PACK_DIR, mode 0600,
#                         once the mesh has OVERMESH_CONTROLLERS controllers (default: 1)
set -eu
umask 077
data=$OVERMESH_DATA
shared=$OVERMESH_RENDEZVOUS
packs=${OVERMESH_PACK_DIR:-/packs}
mkdir -p "$shared/wanted" "$shared/invited"

say() { printf 'overmesh-desk: %s\n' "$*" >&2; }

# One of the controllers that see a request takes it: a rename succeeds once.
invite() {
  request=$(basename "$1")
  mv "$1" "$shared/.taken.$request" 2>/dev/null || return 0
  rm -f "$shared/.taken.$request"
  if [ ! -f "$data/authority/root.key" ]; then
    overmesh authority import "$shared/root.pem" --passphrase-file "$shared/passphrase" >/dev/null
  fi
  # What nobody came for is over, too.
  find "$shared/wanted" "$shared/invited" -type f -mmin +10 -delete
  overmesh invite --ttl 5m 2>/dev/null | tail -n 1 > "$shared/.token.$request"
  if [ ! -s "$shared/.token.$request" ]; then return 1; fi
  mv "$shared/.token.$request" "$shared/invited/$request"
  say "invited ${request%.*}"
}

own_name() { sed -n 's/.*"controller": *"\([^"]*\)".*/\1/p' "$data/config.json"; }

mesh_size() { overmesh controller list --json | node -e '
  let text = ""
  process.stdin.on("data", part => { text += part }).on("end", () => console.log(JSON.parse(text).length))'; }

# A client that exists has its pack made again; one whose key is on no disk of ours any more gets a new key.
hand_out() {
  client=$1
  pack=$packs/$client.ovpn
  if [ -f "$pack" ]; then return 0; fi
  if ! [ "$(mesh_size)" -ge "${OVERMESH_CONTROLLERS:-1}" ]; then return 0; fi
  rm -f "$packs/.$client"
  if ! overmesh client show "$client" >/dev/null 2>&1; then overmesh client add "$client" --prefer "$(own_name)" --out "$packs/.$client"
  else overmesh client pack "$client" --out "$packs/.$client" || overmesh client rekey "$client" --out "$packs/.$client"; fi
  mv "$packs/.$client" "$pack" && say "wrote $pack"
}

while :; do
  sleep 1
  # Not before the controller answers.
  if [ ! -S "$data/run/api.sock" ]; then continue; fi
  for request in "$shared"/wanted/*; do
    if [ -e "$request" ]; then invite "$request" || say "could not invite ${request##*/}"; fi
  done
  for client in ${OVERMESH_PACKS:-}; do hand_out "$client" >/dev/null || say "no pack of $client yet"; done
done
