#!/bin/sh
# Stock openvpn with the pack OVERMESH_PACK, as soon as that is there.
set -eu
until [ -s "$OVERMESH_PACK" ]; do sleep 1; done
exec openvpn --config "$OVERMESH_PACK" --script-security 2 --up /usr/local/bin/overmesh-client-dns --up-restart "$@"
