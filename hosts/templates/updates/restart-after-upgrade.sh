#!/bin/bash
# Restarts the server when a program still runs libraries that an update has replaced: until then the update does not protect it.
# Programs in containers have another root directory, and libraries that come with their image.
set -euo pipefail
shopt -s nullglob

for maps in /proc/[0-9]*/maps; do
  # A process may have ended meanwhile.
  if [ "${maps%maps}root" -ef / ] && grep --quiet --no-messages --extended-regexp ' /usr/lib/.*\.so[^ ]* \(deleted\)$' "$maps"; then
    echo "$(cat "${maps%maps}comm") still runs a replaced library: the server restarts"
    systemctl reboot
    break
  fi
done
