#!/bin/sh
# The overmesh command. Root's `docker exec` becomes the controller's user: what it writes must be readable to the controller.
set -eu
set -- node /opt/overmesh/node/cli/overmesh.js "$@"
if [ "$(id -u)" = 0 ]; then exec overmesh-as-user "$@"; fi
exec "$@"
