#!/usr/bin/env bash
# What `tripline run` needs on this machine besides the commands it starts: memory, and processor time of its own.
#   measure.sh PATH-TO-TRIPLINE [COMMANDS] [SECONDS]
# Without a number of commands: the shipped ones. With one: so many small commands, each every ten seconds, of whose
# outputs one in a hundred changes at each run.
set -euo pipefail

tripline=$1
commands=${2:-shipped}
seconds=${3:-60}
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/tripline-measure.XXXXXX")
pid=
trap '[ -z "$pid" ] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; }; rm -rf "$dir"' EXIT

if [ "$commands" = shipped ]; then
    cp "$here/../rules/commands.toml" "$dir/commands.toml"
else
    for i in $(seq "$commands"); do
        case $((i % 100)) in
        0) printf '[[command]]\nname = "changes %s"\nformat = "full_command"\nevery = "10s"\ncommand = "date +%%N"\n' "$i" ;;
        *) printf '[[command]]\nname = "steady %s"\nformat = "full_command"\nevery = "10s"\ncommand = ["cat", "/etc/passwd"]\n' "$i" ;;
        esac
    done >"$dir/commands.toml"
fi

# Many are spread over the interval, as by the chance of many starts: everything at once says little.
printf '[collector]\nsplay = %s\n' "$([ "$commands" = shipped ] && echo 0 || echo 1)" >"$dir/tripline.toml"
"$tripline" -C "$dir/tripline.toml" run --commands "$dir/commands.toml" --data-dir "$dir/data" &
pid=$!

# utime and stime of the process alone, in hundredths of a second: children count elsewhere.
busy() { sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }'; }
# After every command had its first run.
sleep 15
before=$(busy)
sleep "$seconds"
after=$(busy)
awk -v busy=$((after - before)) -v seconds="$seconds" 'BEGIN { printf "processor: %.2f %% of one core\n", busy / seconds }'
grep -E '^(VmRSS|VmHWM|RssAnon|RssFile|Threads)' "/proc/$pid/status"
echo "descriptors: $(ls "/proc/$pid/fd" | wc -l)"
echo "runs: $("$tripline" outputs --data-dir "$dir/data" --format json | wc -l)"
