#!/bin/bash
# Routes into the tunnel: exactly those of the peers that it has now.
set -euo pipefail
wanted=$(wg show {{ interface }} allowed-ips | cut --fields=2 | sed 's|/32$||' | sort)
there=$(ip -4 route show dev {{ interface }} | cut --delimiter=' ' --fields=1 | sort)
comm -23 <(echo "$wanted") <(echo "$there") | while read -r address; do ip -4 route add "$address" dev {{ interface }}; done
comm -13 <(echo "$wanted") <(echo "$there") | while read -r address; do ip -4 route delete "$address" dev {{ interface }}; done
