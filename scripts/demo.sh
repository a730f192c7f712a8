#!/usr/bin/env bash
# Watches this machine for some seconds: takes a baseline, opens a listening port, shows the alert.
#   demo.sh PATH-TO-TRIPLINE [DATA-DIR]
set -euo pipefail

tripline=$1
here=$(cd "$(dirname "$0")" && pwd)
data=${2:-$(mktemp -d "${TMPDIR:-/tmp}/tripline-demo.XXXXXX")}
log=$data.log
run=
port=

say() { printf '\n== %s\n' "$*"; }
fail() {
    printf 'demo: %s\n' "$1" >&2
    [ -s "$log" ] && sed 's/^/    /' "$log" >&2
    exit 5
}
stop() { # leaves nothing running that this script started
    for pid in $port $run; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
    done
    rm -f "$log"
}
trap stop EXIT

# Waits until a command succeeds, at most so many seconds, as long as Tripline runs.
wait_for() {
    local seconds=$1
    shift
    for _ in $(seq $((seconds * 5))); do
        "$@" && return 0
        kill -0 "$run" 2>/dev/null || fail "tripline ended before its time; it said:"
        sleep 0.2
    done
    return 1
}
# A listener such as the one of the seed: netcat, or a line of Perl where there is none. Port 0 would not do, since the
# port must be known to be shown; a busy one is tried again with the next.
open_port() {
    for number in $(seq 23456 23475); do
        if command -v nc >/dev/null; then
            { nc -l -p "$number" 2>/dev/null || nc -l "$number"; } >/dev/null 2>&1 </dev/null &
        else
            perl -MIO::Socket::INET -e \
                'my $s = IO::Socket::INET->new(Listen => 1, LocalPort => $ARGV[0]) or exit 1; sleep 300' "$number" &
        fi
        port=$!
        sleep 0.5
        if kill -0 "$port" 2>/dev/null; then
            opened=$number
            return 0
        fi
    done
    fail "no port between 23456 and 23475 could be opened"
}
runs_of() { "$tripline" outputs --data-dir "$data" --command "$1" --format json 2>/dev/null | wc -l; }
has_runs() { [ "$(runs_of listening-ports)" -ge 2 ]; }
has_alert() { [ -n "$("$tripline" alerts --data-dir "$data" --rule 533 --format json 2>/dev/null)" ]; }

say "Watching this machine: df -P, uptime and the listening ports, every few seconds"
echo "   tripline run --config scripts/demo.toml --data-dir $data --for 60s"
"$tripline" run --config "$here/demo.toml" --data-dir "$data" --for 60s >"$log" 2>&1 &
run=$!

say "Taking a baseline: the first output of a command is stored, and compared with from then on"
wait_for 30 has_runs || fail "no output of listening-ports came within 30 seconds; tripline said:"
"$tripline" outputs --data-dir "$data" --command listening-ports | tail -n 12

open_port
say "Opened port $opened, as somebody might who should not"
wait_for 30 has_alert || fail "no alert came within 30 seconds; tripline said:"

say "The alert, as a notification"
"$tripline" alerts --data-dir "$data" --rule 533 --format mail

say "The same alert, as it would stand in alerts.log"
"$tripline" alerts --data-dir "$data" --rule 533 --format ossec

kill -TERM "$run"
ended=0
wait "$run" || ended=$?
run=
[ "$ended" -eq 0 ] || [ "$ended" -eq 130 ] || fail "tripline ended with exit code $ended; it said:"

say "Summary"
echo "   events: $("$tripline" outputs --data-dir "$data" --format json | wc -l) outputs collected and judged"
echo "   alerts: $("$tripline" alerts --data-dir "$data" --format json | wc -l)"
echo "   data:   $data (delete it when you have seen enough)"
cat <<EOF

   Type next:
     $tripline alerts --data-dir $data                  the alerts, while it runs or afterwards
     $tripline outputs --data-dir $data --changes       what changed, line by line
     $tripline state --data-dir $data                   what is remembered
     $tripline run --commands rules/commands.toml --data-dir DIR    watch this machine for good
EOF
