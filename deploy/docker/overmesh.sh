#!/bin/sh
# The overmesh command. Root's `docker exec` becomes the controller's user: what it writes must be readable to the controller.
set -eu
exec overmesh-as-user node /opt/overmesh/node/cli/overmesh.js "$@"
