// The script that puts a sealed host's ruleset in place and takes it away: POSIX sh, so that it runs wherever nft does.

export const SEAL_SCRIPT = `#!/bin/sh
# Seals this host: nothing but its overlay gets in or out. \`seal help\` says how. POSIX sh, nft and getent are all it needs.
set -eu

TABLE='inet overmesh_seal'
HOME_DIR="\${DESTDIR:-}/usr/local/lib/overmesh-seal"
UNIT_DIR="\${DESTDIR:-}/etc/systemd/system"
HOSTS="\${DESTDIR:-}/etc/hosts"
HOSTS_MARK='# overmesh-seal'
TRIAL=/run/overmesh-seal.trial
UNITS='overmesh-seal.service overmesh-seal-refresh.service overmesh-seal-refresh.timer'
here=$(cd -- "$(dirname -- "$0")" && pwd)

usage() {
  cat <<'END'
usage: seal COMMAND
  apply [--try SECONDS]  seal now, until the next start; with --try, undone by itself unless confirmed in time
  confirm                keep what \`apply --try\` did
  install                seal now and at every start, before the network is up (systemd)
  refresh                put the seal back if something took it away, and resolve names of controllers anew
  status                 whether this host is sealed, and what was refused
  unseal                 take the seal and all its files away: as it was before
END
}

fail() {
  printf 'seal: %s\\n' "$1" >&2
  exit "\${2:-1}"
}

need_root() {
  [ "$(id -u)" = 0 ] || fail 'this needs root; use sudo'
  command -v nft >/dev/null || fail 'nft is missing; install the package nftables'
}

is_sealed() {
  # shellcheck disable=SC2086
  nft list chain $TABLE in >/dev/null 2>&1
}

# The seal lets in what answers the host, and the kernel knows of that only once it follows connections: of the tunnel that
# is up, it hears within two of its pings.
follow_connections() {
  nft -f - <<END
add table $TABLE
add chain $TABLE follow { type filter hook input priority 0; }
add rule $TABLE follow ct state established accept
END
  sleep 2
}

# By DNS first: what this script itself put into the hosts file must not become the truth.
look_up() {
  answers=$(getent -s dns ahosts "$1" 2>/dev/null) || answers=$(getent ahosts "$1" 2>/dev/null) || return 1
  printf '%s\\n' "$answers" | awk '{ print $1 }' | sort -u
}

# openvpn, too, has to find controllers that are known by name, after a start when nothing answers yet.
write_hosts() {
  [ -s "$here/names" ] || return 0
  forget_hosts
  awk -v mark="$HOSTS_MARK" '{ print $2, $1, mark }' "$here/addresses" | sort -u >>"$HOSTS"
}

forget_hosts() {
  if grep -qs "$HOSTS_MARK$" "$HOSTS"; then sed -i "/ $HOSTS_MARK$/d" "$HOSTS"; fi
}

# Addresses of controllers that are known by name; those found last stand in when nobody answers.
resolve() {
  [ -s "$here/names" ] || return 0
  while read -r name port; do
    found=$(look_up "$name") || found=''
    if [ -n "$found" ]; then
      for address in $found; do printf '%s %s %s\\n' "$name" "$address" "$port"; done
    elif [ -r "$here/addresses" ]; then
      awk -v name="$name" -v port="$port" '$1 == name && $3 == port' "$here/addresses"
    fi
  done <"$here/names" >"$here/addresses.$$"
  mv "$here/addresses.$$" "$here/addresses"
}

# Rules for the addresses found last, of names that are still dialled.
remembered() {
  [ -s "$here/names" ] && [ -r "$here/addresses" ] || return 0
  while read -r name address port; do
    grep -qxFe "$name $port" "$here/names" || continue
    case "$address" in
      *[!0-9a-fA-F.:]*) continue ;;
      *:*) set_name=controllers6 ;;
      *) set_name=controllers4 ;;
    esac
    printf 'add element %s %s { %s . %s }\\n' "$TABLE" "$set_name" "$address" "$port"
  done <"$here/addresses"
}

# Whether a way to a controller is known without asking: by what was found last or, where names were asked for before, in the
# ruleset itself.
knows_a_way() {
  [ ! -s "$here/names" ] || [ -n "$(remembered)" ] ||
    { [ -e "$here/addresses" ] && grep -q 'elements = {' "$here/overmesh-seal.nft"; }
}

# All at once: there is no moment half open or half shut.
put() {
  { cat "$here/overmesh-seal.nft"; remembered; } | nft -f - || {
    # shellcheck disable=SC2086
    is_sealed || nft delete table $TABLE 2>/dev/null || true
    fail 'nft did not take the ruleset; the host is as it was'
  }
  write_hosts
}

tell_missing() {
  [ -s "$here/names" ] || return 0
  missing=$(while read -r name port; do grep -q "^$name .* $port\\$" "$here/addresses" || printf ' %s' "$name"; done <"$here/names")
  [ -z "$missing" ] || printf 'seal: no address was found for%s; run \`seal refresh\` when there is one\\n' "$missing" >&2
}

# Each trial is a file with what there was before; whoever removes it decides, so that none ends what was meant to stay.
end_trials() {
  rm -f "$TRIAL".*
}

# A trial begun within another one ends as that would have.
begin_trial() {
  for file in "$TRIAL".*; do
    [ ! -e "$file" ] || { mv "$file" "$TRIAL.$$"; return 0; }
  done
  # shellcheck disable=SC2086
  { ! is_sealed || nft list table $TABLE; } >"$TRIAL.new"
  mv "$TRIAL.new" "$TRIAL.$$"
}

apply() {
  seconds=0
  case "\${1:-}" in
    '') ;;
    --try)
      seconds=\${2:-60}
      case "$seconds" in *[!0-9]* | '') fail "--try $seconds: give whole seconds" 2 ;; esac
      ;;
    *) fail "apply $1: not an option; see \\\`seal help\\\`" 2 ;;
  esac
  need_root
  printf 'seal: every connection outside the overlay ends now, this one too if it is one (made with --seal-allow, it stays)\\n' >&2
  if [ "$seconds" -eq 0 ]; then
    end_trials
    # While names can still be asked for.
    resolve
    is_sealed || follow_connections
    put
    tell_missing
    printf 'seal: sealed\\n' >&2
    return
  fi
  begin_trial
  before=$(cat "$TRIAL.$$")
  # Names may take their time, and the trial begins when nothing else does.
  resolve
  is_sealed || follow_connections
  (
    trap '' HUP INT TERM
    sleep "$seconds"
    rm "$TRIAL.$$" || exit
    printf 'add table %s\\ndelete table %s\\n%s\\n' "$TABLE" "$TABLE" "$before" | nft -f -
    [ -n "$before" ] || forget_hosts
  ) </dev/null >/dev/null 2>&1 &
  put
  tell_missing
  again=unsealed
  [ -z "$before" ] || again='as before'
  printf 'seal: sealed; %s again in %s s unless you run \`seal confirm\`\\n' "$again" "$seconds" >&2
}

# A seal that is missing comes back first, with what was found last: asking for names takes its time. Where that leads to no
# controller, they are asked for while that can be.
# A seal that stands is only added to: what it refused stays counted.
refresh() {
  need_root
  stood=yes
  is_sealed || stood=no
  [ $stood = yes ] || ! knows_a_way || put
  resolve
  if is_sealed; then
    remembered | nft -f - || fail 'nft did not take the addresses'
    write_hosts
  elif [ $stood = no ] || [ "$here" = "$HOME_DIR" ]; then
    put
  else
    # Maybe a trial that is over, and has its way.
    fail 'the seal was taken away meanwhile'
  fi
  [ $stood = yes ] || tell_missing
}

install_all() {
  need_root
  mkdir -p "$HOME_DIR" "$UNIT_DIR"
  for file in overmesh-seal.nft names; do
    [ "$here" = "$HOME_DIR" ] || { cp "$here/$file" "$HOME_DIR/$file"; chmod 0600 "$HOME_DIR/$file"; }
  done
  for unit in $UNITS; do
    [ "$here" = "$HOME_DIR" ] || { cp "$here/$unit" "$UNIT_DIR/$unit"; chmod 0644 "$UNIT_DIR/$unit"; }
  done
  [ "$here" = "$HOME_DIR" ] || { cp "$here/seal" "$HOME_DIR/seal"; chmod 0700 "$HOME_DIR/seal"; }
  here=$HOME_DIR
  apply
  if [ -z "\${DESTDIR:-}" ]; then
    command -v systemctl >/dev/null || fail 'there is no systemd: sealed until the next start; run \`seal refresh\` early at each start'
    systemctl daemon-reload
    systemctl --quiet enable overmesh-seal.service overmesh-seal-refresh.timer
    systemctl start overmesh-seal-refresh.timer
  fi
  printf 'seal: installed in %s\\n' "$HOME_DIR" >&2
}

status() {
  need_root
  is_sealed || fail 'this host is not sealed'
  printf 'sealed\\n'
  # shellcheck disable=SC2086
  nft list table $TABLE | grep 'comment "refused"' | sed 's/^[[:space:]]*//'
}

unseal() {
  need_root
  if [ -d "$HOME_DIR" ]; then
    if [ -z "\${DESTDIR:-}" ] && command -v systemctl >/dev/null; then
      systemctl --quiet disable --now overmesh-seal-refresh.timer overmesh-seal.service || true
      systemctl stop overmesh-seal-refresh.service || true
    fi
    for unit in $UNITS; do rm -f "$UNIT_DIR/$unit"; done
    if [ -z "\${DESTDIR:-}" ] && command -v systemctl >/dev/null; then systemctl daemon-reload; fi
  fi
  # shellcheck disable=SC2086
  if nft list table $TABLE >/dev/null 2>&1; then nft delete table $TABLE; fi
  forget_hosts
  rm -rf "$HOME_DIR"
  end_trials
  rm -f "$here/addresses" "$here/addresses".*
  printf 'seal: unsealed; nothing of it is left\\n' >&2
}

command=\${1:-help}
[ $# -eq 0 ] || shift
case "$command" in
  apply) apply "$@" ;;
  confirm)
    need_root
    is_sealed || fail 'there is nothing to confirm: this host is not sealed'
    end_trials
    printf 'seal: confirmed\\n' >&2
    ;;
  install) install_all ;;
  refresh) refresh ;;
  status) status ;;
  unseal) unseal ;;
  help | -h | --help) usage ;;
  *) fail "$command: no such command; see \\\`seal help\\\`" 2 ;;
esac
`
