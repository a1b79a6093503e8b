#!/bin/sh
# Runs a command as the user of the controller, with the capabilities that make interfaces, rules and routes, as far as the
# container has them.
set -eu
if [ "$(id -u)" != 0 ]; then exec "$@"; fi
bounding=$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)
capabilities=-all
# Numbers of capability.h.
for each in net_bind_service:10 net_admin:12 net_raw:13; do
  if [ $((0x$bounding >> ${each#*:} & 1)) = 1 ]; then capabilities="$capabilities,+${each%:*}"; fi
done
exec setpriv --reuid overmesh --regid overmesh --clear-groups \
  --inh-caps "$capabilities" --ambient-caps "$capabilities" "$@"
