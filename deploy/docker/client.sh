#!/bin/sh
# Stock openvpn with the pack of OVERMESH_PACK, as soon as that is there.
set -eu
until [ -s "$OVERMESH_PACK" ]; do sleep 1; done
exec openvpn --config "$OVERMESH_PACK" "$@"
