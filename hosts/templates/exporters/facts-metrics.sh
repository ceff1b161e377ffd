#!/bin/bash
# Metrics that no exporter has: when certificates end, and whether an update waits for a reboot.
set -euo pipefail
shopt -s nullglob

target={{ directory }}/rungway-facts.prom
{
    echo '# TYPE rungway_certificate_not_after_timestamp_seconds gauge'
    for certificate in /etc/rungway/tls/*.crt; do
        not_after=$(openssl x509 -in "$certificate" -noout -enddate | cut -d= -f2)
        echo "rungway_certificate_not_after_timestamp_seconds{path=\"$certificate\"} $(date --date "$not_after" +%s)"
    done
    echo '# TYPE rungway_reboot_required gauge'
    if [ -e /run/reboot-required ]; then echo 'rungway_reboot_required 1'; else echo 'rungway_reboot_required 0'; fi
} >"$target.new"
chmod 0644 "$target.new"
mv "$target.new" "$target"
