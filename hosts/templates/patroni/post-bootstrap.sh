#!/bin/bash
# Patroni runs this as postgres when it has made the first, empty primary: the roles are there before anybody asks for them, whichever
# server was the first.
set -eu
# The tasks of the roles are written for root.
runuser() {
    while [ "$1" != -- ]; do shift; done
    shift
    "$@"
}
{% for script in scripts %}
(
{{ script }}
)
{% endfor %}
