#!/bin/bash
# Makes the wanted version of the application serve, without failing a request:
# start the idle colour, wait until it is healthy, let nginx choose it, let the old colour finish, stop it.
# When the new one does not become healthy the old one stays, and the exit code is 1. With --check nothing changes: the exit code is 0
# when the wanted version is the one that runs.
set -euo pipefail

environment={{ environment_file }}
definition={{ definition }}
state={{ state }}
health_check_path={{ health_check_path }}
start_seconds={{ start_seconds }}
settle_seconds={{ settle_seconds }}
declare -A port=({% for colour, number in colours %} [{{ colour }}]={{ number }}{% endfor %} )
declare -A serves=({% for colour, file in serving_files %} [{{ colour }}]={{ file }}{% endfor %} )

say() { echo "rollout: $*"; }
fail() { echo "rollout: $*" >&2; exit 1; }

{% if containers %}
compose() { docker-compose --file "$definition" --progress quiet "$@"; }
is_running() { [[ -n "$(compose ps --status running --quiet "$1")" ]]; }
prepare() { compose pull --quiet --policy missing "$1"; }
start() { compose up --detach --no-deps --force-recreate "$1"; }
stop() { compose rm --stop --force "$1"; }
logs() { compose logs --tail 30 "$1" >&2; }
migrate() { {{ "compose run --rm --no-deps migration" if migration_shell else ":" }}; }
# Images of earlier versions, a week after they were made; those of running containers stay.
tidy() { docker image prune --all --force --filter until=168h > /dev/null || true; }
{% else %}
is_running() { systemctl is-active --quiet "application@$1"; }
prepare() { { cat "$environment"; echo "UVICORN_PORT='${port[$1]}'"; } | install -m 0600 /dev/stdin "$state/$1.env"; }
start() { systemctl enable --quiet "application@$1" && systemctl restart "application@$1"; }
stop() { systemctl disable --now --quiet "application@$1"; systemctl reset-failed "application@$1" 2> /dev/null || true; }
logs() { journalctl --unit "application@$1" --lines 30 --no-pager >&2; }
migrate() {
{% if migration_shell %}
  # shellcheck disable=SC2016 # The command's own variables are its shell's to expand.
  systemd-run --quiet --wait --pipe --collect --property User=application --property EnvironmentFile="$environment" \
    --working-directory={{ image }} sh -c {{ migration_shell }}
{% else %}
  :
{% endif %}
}
tidy() { :; }
{% endif %}

# The authority too: a container has the file that was there when it started.
wanted() { cat "$definition" "$environment" {{ authority }} | sha256sum | cut -d' ' -f1; }
# What serves, by nginx' own rule; empty before the first rollout.
active() {
  local colour found=""
  for colour in blue green; do if [[ -f "${serves[$colour]}" ]]; then found=$colour; fi; done
  echo "$found"
}
other() { if [[ "$1" == blue ]]; then echo green; else echo blue; fi; }
has_wanted() { [[ -n "$1" && "$(cat "$state/$1.digest" 2> /dev/null)" == "$(wanted)" ]] && is_running "$1"; }

is_healthy() { curl --silent --fail --output /dev/null --max-time 5 "http://127.0.0.1:${port[$1]}$health_check_path"; }

wait_until_healthy() {
  local answers=0 deadline=$((SECONDS + start_seconds))
  # Three in a row: behind one port are several workers.
  while (( answers < 3 )); do
    if is_healthy "$1"; then answers=$((answers + 1)); else answers=0; sleep 0.2; fi
    (( SECONDS < deadline )) || return 1
  done
}

# At every moment one of the two files is there.
serve() {
  touch "${serves[$1]}"
  rm -f "${serves[$(other "$1")]}"
}

current="$(active)"
if [[ "${1:-}" == --check ]]; then
  has_wanted "$current" && ! is_running "$(other "$current")"
  exit
fi

exec 9> /run/rungway-rollout.lock
flock --nonblock 9 || fail "another rollout is under way"

next="$current"
if ! has_wanted "$current"; then
  next="$(other "${current:-green}")"
  say "starting $next"
  stop "$next"
  digest="$(wanted)"
  prepare "$next"
  migrate || fail "the migration failed; ${current:-nothing} serves as before"
  start "$next"
  if ! wait_until_healthy "$next"; then
    logs "$next"
    stop "$next"
    fail "$next was not healthy within $start_seconds s; ${current:-nothing} serves as before"
  fi
  echo "$digest" > "$state/$next.digest"
fi

# Also after a rollout that was cut off here.
serve "$next"
old="$(other "$next")"
if is_running "$old"; then
  sleep "$settle_seconds"
  stop "$old"
fi
rm -f "$state/$old.digest"
tidy
say "$next serves"
