#!/bin/bash
# When each link last proved that its other end is there, by the name of the server; 0 is never, also while the interface is away.
set -euo pipefail
target={{ target }}
links=$(join <(wg show {{ interface }} allowed-ips | sort) <(wg show {{ interface }} latest-handshakes | sort))
{
    echo '# TYPE rungway_wireguard_latest_handshake_timestamp_seconds gauge'
{% for name, peer_address in peers %}
    handshake=$(awk '$2 == "{{ peer_address }}/32" { print $3 }' <<<"$links")
    echo "rungway_wireguard_latest_handshake_timestamp_seconds{peer=\"{{ name }}\"} ${handshake:-0}"
{% endfor %}
} >"$target.new"
chmod 0644 "$target.new"
mv "$target.new" "$target"
