#!/bin/sh
# redis-cli for root, to {{ server }} on this server. The password comes from a file that only root reads.
set -eua
. {{ environment_file }}
exec redis-cli --tls --cacert /etc/rungway/tls/authority.crt -p {{ port }} --user {{ user }} --no-auth-warning "$@"
