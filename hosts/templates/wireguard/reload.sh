#!/bin/bash
# What `wg syncconf` leaves as it was: the interface's own address, and routes for exactly the peers that it has now.
set -euo pipefail
address=$(sed --quiet 's/^Address = //p' {{ configuration }})
ip -4 address show dev {{ interface }} | grep --quiet --fixed-strings "inet $address " || {
	ip -4 address flush dev {{ interface }}
	ip -4 address add "$address" dev {{ interface }}
}
wanted() { wg show {{ interface }} allowed-ips | cut --fields=2 | sed 's|/32$||' | sort; }
there() { ip -4 route show dev {{ interface }} | cut --delimiter=' ' --fields=1 | sort; }
comm -23 <(wanted) <(there) | while read -r peer; do ip -4 route add "$peer" dev {{ interface }}; done
comm -13 <(wanted) <(there) | while read -r peer; do ip -4 route delete "$peer" dev {{ interface }}; done
