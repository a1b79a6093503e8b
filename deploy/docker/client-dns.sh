#!/bin/sh
# What update-systemd-resolved does elsewhere: asks the overlay first, by the options that it pushed (openvpn(8),
# foreign_option_N). It refuses what is not its own, which then goes to the container's own resolver.
set -eu
own=$(grep -v -e '# overlay$' /etc/resolv.conf)
{
  env | sed -n 's/^foreign_option_[0-9]*=dhcp-option DNS \(.*\)$/nameserver \1 # overlay/p'
  printf '%s\n' "$own"
} > /tmp/resolv.conf
# A mount of Docker's: it is written to, not replaced.
cat /tmp/resolv.conf > /etc/resolv.conf
