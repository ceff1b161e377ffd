#!/bin/bash
# Makes the swap file once, and uses it.
set -euo pipefail

file={{ swap_file }}

if swapon --show=NAME --noheadings | grep --quiet --line-regexp "$file"; then exit; fi
if [[ ! -e "$file" ]]; then
  # The name is taken by a whole file alone: what a cut left is made anew.
  rm -f "$file.new"
  fallocate --length {{ size_mb }}MiB "$file.new"
  # Root alone: it will hold what was in memory.
  chmod 600 "$file.new"
  mkswap "$file.new" > /dev/null
  mv "$file.new" "$file"
fi
swapon "$file"
