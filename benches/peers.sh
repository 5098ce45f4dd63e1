#!/usr/bin/env bash
# Annals beside the tools that people use now: restic, rsync, Unison and Syncthing, on the same tree, on this machine, in
# one go, over loopback. Prints the table of the README. What counts are its ratios: seconds are those of one machine.
#
# What always holds: whatever is started is ended, also on Ctrl-C; nothing listens beyond 127.0.0.1; all that is written
# lies in one temporary folder. What it leaves out: networks other than loopback, and tools that Debian does not have.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=benches/material.sh
. "$here/material.sh"
# shellcheck source=benches/syncthing.sh
. "$here/syncthing.sh"

usage() {
    cat <<'END'
usage: benches/peers.sh [OPTION]...

  --annals PROGRAM  a build with measurements: cargo build --release --features bench
                    [default: target/release/annals, or that of CARGO_TARGET_DIR]
  --tree DIR        a tree to measure with; it is copied [default: one that is made, always the same]
  --files N         how many files are made [default: 20000]
  --only ROW        one of: first device rescan rename latency edits delta; may be given several times
  --runs N          medians of so many runs [default: 1]
  --saves N         saves that are measured in `latency` [default: 200]
  --delta-mib N     size of the file in `delta` [default: 1024]
  --temp DIR        where the temporary folder is made: on the disk that is meant [default: TMPDIR, or /tmp]
  --keep            leave the temporary folder
  --no-install      do not install what is missing: say so, and fail
END
}

die() {
    echo "error: $*" >&2
    exit 1
}

say() { echo "$*" >&2; }

# ---- What was asked for ---------------------------------------------------------------------------------------------

all_rows="first device rescan rename latency edits delta"
annals=${CARGO_TARGET_DIR:-$here/../target}/release/annals
tree_given="" files=20000 only="" runs=1 saves=200 delta_mib=1024 temp=${TMPDIR:-/tmp} keep="" install=yes

typed=("$@")
while [ $# -gt 0 ]; do
    case $1 in
        --annals | --tree | --files | --only | --runs | --saves | --delta-mib | --temp)
            [ $# -gt 1 ] || die "$1 wants a value" ;;
    esac
    case $1 in
        --annals) annals=$2 && shift ;;
        --tree) tree_given=$(cd "$2" && pwd) && shift ;;
        --files) files=$2 && shift ;;
        --only) only="$only $2" && shift ;;
        --runs) runs=$2 && shift ;;
        --saves) saves=$2 && shift ;;
        --delta-mib) delta_mib=$2 && shift ;;
        --temp) temp=$(cd "$2" && pwd) && shift ;;
        --keep) keep=yes ;;
        --no-install) install="" ;;
        -h | --help) usage && exit ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done
for number in "$files" "$runs" "$saves" "$delta_mib"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || die "not a number: $number"
done
for row in $only; do
    [[ " $all_rows " == *" $row "* ]] || die "no such row: $row (there are: $all_rows)"
done
rows=${only:-$all_rows}
[ -x "$annals" ] || die "no program at $annals: cargo build --release --features bench"
"$annals" bench latency --help >/dev/null || die "$annals cannot measure: cargo build --release --features bench"
annals=$(cd "$(dirname "$annals")" && pwd)/$(basename "$annals")

# ---- Tools, and a network of our own --------------------------------------------------------------------------------

need_tools() {
    local pair missing=""
    for pair in restic:restic rsync:rsync unison:unison syncthing:syncthing curl:curl time:time ip:iproute2; do
        [ -n "$(type -P "${pair%:*}")" ] || missing="$missing ${pair#*:}"
    done
    [ -n "$missing" ] || return 0
    [ -n "$install" ] || die "missing: apt-get install$missing"
    say "installing from Debian's packages:$missing"
    local as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    # shellcheck disable=SC2086  # Words, both of them.
    { $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends $missing; } >&2
}

# In a network namespace of its own there is nothing but loopback, and its counter counts nobody else's bytes.
go_apart() {
    local how
    for how in -n -rn; do
        if unshare $how ip link set lo up 2>/dev/null; then
            PEERS_APART=yes exec unshare $how -- bash "${BASH_SOURCE[0]}" "${typed[@]}"
        fi
    done
    say "no network namespace of its own here: bytes on the wire include what others send over loopback meanwhile"
    export PEERS_APART=no
}

if [ -z "${PEERS_APART:-}" ]; then
    need_tools
    go_apart
fi
[ "$PEERS_APART" = no ] || ip link set lo up

# ---- Processes ------------------------------------------------------------------------------------------------------

running=()

# The ids of all that these started themselves, and they. Each is stopped first, so that it starts nothing meanwhile.
family() {
    local pid
    for pid in "$@"; do
        kill -STOP "$pid" 2>/dev/null || continue
        echo "$pid"
        # shellcheck disable=SC2046  # Ids.
        family $(cat "/proc/$pid/task/"*/children 2>/dev/null)
    done
}

end_all() {
    local pids pid tries
    [ ${#running[@]} -gt 0 ] || return 0
    mapfile -t pids < <(family "${running[@]}")
    for pid in "${pids[@]}"; do kill -TERM "$pid" && kill -CONT "$pid"; done 2>/dev/null || true
    wait "${running[@]}" 2>/dev/null || true
    running=()
    # What they started is not ours to wait for. Who hangs is ended harder.
    for pid in "${pids[@]}"; do
        for ((tries = 0; tries < 200; tries++)); do
            kill -0 "$pid" 2>/dev/null || continue 2
            sleep 0.05
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
}

on_exit() {
    local code=$?
    trap '' INT TERM
    end_all
    if [ -n "$keep" ] || [ -z "${place:-}" ]; then
        say "kept: ${place:-nothing}"
    else
        rm -rf "$place"
    fi
    exit "$code"
}

# Starts a process whose id is then in $started.
begin() {
    local log=$1
    shift
    # Nobody who waits for a line may find that of an earlier process.
    : >"$log"
    "$@" </dev/null >"$log" 2>&1 &
    started=$!
    running+=("$started")
}

# Waits for its end, which has to be a good one.
finish() {
    local pid=$1 log=$2 left=() other
    wait "$pid" || die "failed, with status $?: $(tail -n 5 "$log")"
    for other in "${running[@]}"; do [ "$other" = "$pid" ] || left+=("$other"); done
    running=("${left[@]}")
}

quietly() {
    begin "$place/quietly.log" "$@"
    finish "$started" "$place/quietly.log"
}

microseconds() { now=${EPOCHREALTIME/./}; }

# How long it took in $seconds, the memory of its largest process in $peak (KiB).
timed() {
    local since
    sync
    microseconds && since=$now
    begin "$place/timed.log" "$(type -P time)" -o "$place/time" -f '%M' "$@"
    finish "$started" "$place/timed.log"
    microseconds && seconds=$(calc "($now - $since) / 1e6")
    peak=$(tail -n 1 "$place/time")
}

peak_of() { awk '/^VmHWM/ { print $2 }' "/proc/$1/status"; }

# Until a command succeeds. What runs meanwhile may not end.
await() {
    local pid tries=0
    until "$@"; do
        sleep "${pause:-0.2}"
        tries=$((tries + 1))
        [ $tries -lt 20000 ] || die "in vain: $*"
        for pid in "${running[@]}"; do kill -0 "$pid" 2>/dev/null || die "process $pid ended; waiting for: $*"; done
    done
}

# Puts things aside until the end: for minutes, ext4 makes files slowly where many were just removed, and that would be
# the next one's loss.
discarded=0
discard() {
    local path
    for path in "$@"; do
        [ -e "$path" ] || continue
        discarded=$((discarded + 1))
        mv "$path" "$place/discarded/$discarded"
    done
}

# ---- Figures --------------------------------------------------------------------------------------------------------

calc() { awk "BEGIN { printf \"%.6f\", $1 }"; }
# Notes a figure by its name, and the median of those that have it.
note() {
    [[ $2 =~ ^[0-9.]+$ ]] || die "no figure for $1: $2"
    echo "$2" >>"$place/figures/$1"
}
median() { sort -g "$place/figures/$1" | awk '{ at[NR] = $1 } END { print at[int((NR + 1) / 2)] }'; }
wire_bytes() { awk '$1 == "lo:" { print $2 }' /proc/net/dev; }
stored_bytes() { du -sb "$1" | cut -f 1; }

in_seconds() { awk "BEGIN { printf \"%.2f s\", $1 }"; }
in_mib() { awk "BEGIN { printf \"%.0f MiB\", $1 / 1024 }"; }
in_bytes() {
    awk -v n="$1" 'BEGIN { if (n < 1e3) printf "%d B", n; else if (n < 1e6) printf "%.1f kB", n / 1e3; else printf "%.2f MB", n / 1e6 }'
}
times() { awk "BEGIN { printf \"%.2fx\", $1 / $2 }"; }
# What the bar is, and whether `$1 <= $2`.
bar() { awk "BEGIN { exit !($1 <= $2) }" && echo "$3: met" || echo "$3: **missed**"; }
line() { printf '| %s | %s | %s | %s | %s |\n' "$@" | tee -a "$place/table" >&2; }

# ---- Annals ---------------------------------------------------------------------------------------------------------

export ANNALS_PASSWORD="correct horse battery staple"

# A new server with one account: its address in $url, its process in $server.
serve() {
    discard "$place/server"
    begin "$place/server.log" "$annals" serve --data "$place/server" --listen 127.0.0.1:0
    server=$started
    await grep -q '^listening on ' "$place/server.log"
    url=$(sed -n 's/^listening on //p' "$place/server.log")
    quietly "$annals" user add ada --server "$url" --data "$place/server" --quota 1TB
}

link() { quietly "$annals" link "$url" "$1" --user ada --device "$(basename "$1")"; }

daemon() {
    begin "$place/$(basename "$1").log" "$annals" sync "$1"
    await grep -q '^in sync' "$place/$(basename "$1").log"
}

# Whether a device has all files, symbolic links among them, and nothing to do.
has_all() {
    local status
    status=$("$annals" status "$1" --json)
    [[ $status == *'"files":'"$count",* && $status == *'"pending_events":0'* && $status == *'"doing":null'* ]]
}

bytes_of() { find "$1" -name .annals -prune -o -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
count_files() { find "$1" -name .annals -prune -o -name .stfolder -prune -o -type "${2:-f,l}" -print | wc -l; }
must_be_all() { [ "$(count_files "$1")" = "$count" ] || die "$1 has $(count_files "$1") files of $count"; }

metric() { curl -s "$url/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }

# ---- The rows -------------------------------------------------------------------------------------------------------

forget_state() { discard "$tree/.annals" "$tree/.stfolder"; }

row_first() {
    local run
    for run in $(seq "$runs"); do
        export RESTIC_PASSWORD=peers RESTIC_REPOSITORY=$place/repo RESTIC_CACHE_DIR=$place/restic-cache
        quietly restic init -q
        timed restic backup -q "$tree"
        note first-restic "$seconds" && note first-restic-peak "$peak"
        note first-restic-stored "$(stored_bytes "$place/repo")"
        discard "$place/repo" "$place/restic-cache"
        serve
        link "$tree"
        timed "$annals" sync "$tree" --once
        note first-annals "$seconds" && note first-annals-peak "$peak"
        note first-server-peak "$(peak_of "$server")"
        note first-annals-stored "$(stored_bytes "$place/server")"
        end_all && forget_state && discard "$place/server"
        say "first sync, run $run of $runs"
    done
    local a r ap sp rp as rs
    a=$(median first-annals) r=$(median first-restic)
    ap=$(median first-annals-peak) sp=$(median first-server-peak) rp=$(median first-restic-peak)
    as=$(median first-annals-stored) rs=$(median first-restic-stored)
    line "first sync, folder to server" "$(in_seconds "$a")" "restic backup $(in_seconds "$r")" "$(times "$a" "$r")" \
        "$(bar "$a / $r" 0.5 "at most 0.5x")"
    line "stored after it, log included" "$(in_bytes "$as")" "restic $(in_bytes "$rs")" "$(times "$as" "$rs")" "none"
    line "peak memory of it" "device $(in_mib "$ap"), server $(in_mib "$sp")" "restic $(in_mib "$rp")" "" \
        "$(bar "($ap > $sp ? $ap : $sp)" 262144 "256 MiB each")"
}

row_device() {
    local run since one two
    for run in $(seq "$runs"); do
        serve
        mkdir "$place/two" && link "$place/two" && daemon "$place/two" && two=$started
        sync
        microseconds && since=$now
        link "$tree"
        begin "$place/one.log" "$annals" sync "$tree" && one=$started
        pause=0.5 await has_all "$place/two"
        microseconds && note device-annals "$(calc "($now - $since) / 1e6")"
        must_be_all "$place/two"
        note device-one-peak "$(peak_of "$one")" && note device-two-peak "$(peak_of "$two")"
        note device-server-peak "$(peak_of "$server")"
        end_all && forget_state && discard "$place/two" "$place/server"
        syncthing_pair
        share b "$place/two" 10
        sync
        microseconds && since=$now
        share a "$tree" 10
        pause=0.5 await syncthing_has_all
        microseconds && note device-syncthing "$(calc "($now - $since) / 1e6")"
        must_be_all "$place/two"
        note device-a-peak "$(peak_of "${st[a]}")" && note device-b-peak "$(peak_of "${st[b]}")"
        end_all && forget_state && discard "$place/two"
        say "to a second device, run $run of $runs"
    done
    local a s one_peak two_peak server_peak
    a=$(median device-annals) s=$(median device-syncthing)
    one_peak=$(median device-one-peak) two_peak=$(median device-two-peak) server_peak=$(median device-server-peak)
    line "folder to a second device" "$(in_seconds "$a"), $(awk "BEGIN { printf \"%d\", $count / $a }") files/s" \
        "Syncthing $(in_seconds "$s")" "$(times "$a" "$s")" "$(bar "$a / $s" 0.2 "at most 0.2x")"
    line "peak memory of it" "devices $(in_mib "$one_peak") and $(in_mib "$two_peak"), server $(in_mib "$server_peak")" \
        "Syncthing $(in_mib "$(median device-a-peak)") and $(in_mib "$(median device-b-peak)")" "" \
        "$(bar "$(printf '%s\n' "$one_peak" "$two_peak" "$server_peak" | sort -g | tail -n 1)" 262144 "256 MiB each")"
}

row_rescan() {
    local run unison_line
    export UNISON=$place/unison-archives
    unison_line=(unison -batch -silent "$tree" "$place/two")
    cp -a "$tree" "$place/two"
    quietly "${unison_line[@]}"
    quietly "${unison_line[@]}"
    for run in $(seq "$runs"); do
        timed "${unison_line[@]}"
        note rescan-unison "$seconds" && note rescan-unison-peak "$peak"
        timed rsync -a "$tree/" "$place/two/"
        note rescan-rsync "$seconds"
    done
    discard "$place/two" "$UNISON"
    serve
    link "$tree"
    quietly "$annals" sync "$tree" --once
    quietly "$annals" sync "$tree" --once
    for run in $(seq "$runs"); do
        timed "$annals" sync "$tree" --once
        note rescan-annals "$seconds" && note rescan-annals-peak "$peak"
    done
    end_all && forget_state && discard "$place/server"
    local a u r
    a=$(median rescan-annals) u=$(median rescan-unison) r=$(median rescan-rsync)
    line "rescan, nothing changed" "$(in_seconds "$a"), $(in_mib "$(median rescan-annals-peak)")" \
        "Unison $(in_seconds "$u"), $(in_mib "$(median rescan-unison-peak)")" "$(times "$a" "$u")" \
        "$(bar "$a" "$u" "at most Unison's time")"
    line "" "" "rsync $(in_seconds "$r")" "$(times "$a" "$r")" "none"
}

row_rename() {
    local run since events content wire
    for run in $(seq "$runs"); do
        serve
        mkdir "$place/one" "$place/two"
        mv "$tree" "$place/one/top"
        link "$place/one" && link "$place/two"
        daemon "$place/one" && daemon "$place/two"
        await has_all "$place/one"
        await has_all "$place/two"
        events=$(metric annals_appended_events_total) content=$(metric annals_chunk_bytes_in_total)
        wire=$(wire_bytes)
        microseconds && since=$now
        mv "$place/one/top" "$place/one/renamed"
        pause=0.002 await is_renamed
        microseconds && note rename "$(calc "($now - $since) / 1e6")"
        await has_all "$place/one"
        note rename-wire $(($(wire_bytes) - wire))
        note rename-events $(($(metric annals_appended_events_total) - events))
        note rename-content $(($(metric annals_chunk_bytes_in_total) - content))
        must_be_all "$place/two/renamed"
        end_all
        mv "$place/one/renamed" "$tree"
        discard "$place/one" "$place/two" "$place/server"
        say "rename, run $run of $runs"
    done
    local seconds events
    seconds=$(median rename) events=$(median rename-events)
    line "rename of its top folder, until visible" "$(in_seconds "$seconds")" "" "" "$(bar "$seconds" 1 "under 1 s")"
    line "what that sends" \
        "$events event(s), $(in_bytes "$(median rename-wire)") on the wire, $(in_bytes "$(median rename-content)") of content" \
        "" "" "$(bar "$events + $(median rename-content)" 1 "one event, no content")"
}
is_renamed() { [ -d "$place/two/renamed" ] && [ ! -e "$place/two/top" ]; }

row_latency() {
    local run n text since fewer=20
    for run in $(seq "$runs"); do
        begin "$place/latency.log" env TMPDIR="$place" "$annals" bench latency --saves "$saves" --tree "$tree"
        finish "$started" "$place/latency.log"
        for n in 50 99; do
            note "latency-$n" "$(sed -n "s/.*p$n \([0-9.]*\) ms.*/\1/p" "$place/latency.log")"
        done
    done
    # In a folder of its own, without the tree: that can only be faster.
    syncthing_pair
    share b "$place/two" 1
    share a "$place/one" 1
    regular=0 await syncthing_has_all
    for n in $(seq "$fewer"); do
        text="this is save $n"
        microseconds && since=$now
        echo "$text" >"$place/one/$((n % 10)).txt"
        pause=0.005 await shows "$place/two/$((n % 10)).txt" "$text"
        microseconds && note latency-syncthing "$(calc "($now - $since) / 1e3")"
    done
    end_all && discard "$place/one" "$place/two"
    local p50 p99 s longest
    p50=$(median latency-50) p99=$(median latency-99) s=$(median latency-syncthing)
    longest=$(sort -g "$place/figures/latency-syncthing" | tail -n 1)
    line "save to visible, p50 of $saves" "$p50 ms" "Syncthing, waiting 1 s, of $fewer: $(printf '%.0f' "$s") ms" \
        "$(times "$p50" "$s")" "$(bar "$p50" 60 "60 ms")"
    line "save to visible, p99" "$p99 ms" "longest $(printf '%.0f' "$longest") ms" "$(times "$p99" "$longest")" \
        "$(bar "$p99" 250 "250 ms")"
}
shows() {
    local found=""
    { read -r found <"$1"; } 2>/dev/null || true
    [ "$found" = "$2" ]
}

row_edits() {
    local size
    for size in 100000 1000000 10000000; do
        mkdir "$place/one"
        noise "$size" >"$place/one/file"
        ten_versions "ten edits of $(in_bytes "$size")" "$place/one" edit_the_middle
        discard "$place/one"
    done
    ten_versions "ten versions of the tree, one line in 2 % of its files" "$tree" edit_some_files
}

# What ten versions of a folder cost, each made by an edit that leaves the names of changed files in $place/changed.
ten_versions() {
    local label=$1 folder=$2 edit=$3 version wire stored repo sent=0 edited=0 whole=0
    export RESTIC_PASSWORD=peers RESTIC_REPOSITORY=$place/repo RESTIC_CACHE_DIR=$place/restic-cache
    local copying=(rsync -a --no-whole-file --stats --exclude .annals "$folder/" "$place/copy")
    local backup=(restic backup -q --exclude .annals "$folder")
    serve
    link "$folder"
    quietly "$annals" sync "$folder" --once
    quietly "${copying[@]}"
    quietly restic init -q
    quietly "${backup[@]}"
    stored=$(stored_bytes "$place/server") repo=$(stored_bytes "$place/repo") wire=$(wire_bytes)
    for version in $(seq 10); do
        (cd "$folder" && "$edit" "$version")
        edited=$((edited + $(cd "$folder" && xargs -d '\n' cat <"$place/changed" | wc -c)))
        whole=$((whole + $(bytes_of "$folder")))
        quietly "$annals" sync "$folder" --once
        quietly "${copying[@]}"
        sent=$((sent + $(sed -n 's/,//g; s/^Total bytes \(sent\|received\): //p' "$place/quietly.log" | paste -sd+)))
        quietly "${backup[@]}"
    done
    wire=$(($(wire_bytes) - wire)) stored=$(($(stored_bytes "$place/server") - stored))
    repo=$(($(stored_bytes "$place/repo") - repo))
    end_all && discard "$folder/.annals" "$place/server" "$place/repo" "$place/copy" "$place/restic-cache"
    saved_line "$label, on the wire" "$wire" rsync "$sent" "$edited" "$whole"
    saved_line "$label, stored" "$stored" restic "$repo" "$edited" "$whole"
}

edit_the_middle() {
    local middle=$(($(stat -c %s file) / 2))
    { head -c $middle file && echo "this is what version $1 added" && tail -c +$((middle + 1)) file; } >"$place/next"
    mv "$place/next" file
    echo file >"$place/changed"
}

edit_some_files() {
    find . -name .annals -prune -o -type f -size +1 -print | sort | awk -v version="$1" 'NR % 50 == version' >"$place/changed"
    xargs -d '\n' sed -i -s "3a this is what version $1 added" <"$place/changed"
}

# The bar is about what was edited, even where most of a folder was not.
saved_line() {
    local label=$1 own=$2 peer=$3 others=$4 edited=$5 whole=$6 too=""
    [ "$edited" = "$whole" ] || too=" ($(saved "$own" "$whole") of ten whole trees)"
    line "$label" "$(in_bytes "$own"): $(saved "$own" "$edited")$too" \
        "$peer $(in_bytes "$others"): $(saved "$others" "$edited")" "$(times "$own" "$others")" \
        "$(bar "10 * $own" "$edited" "90 % saved")"
}
saved() { awk "BEGIN { printf \"%.1f %% saved\", 100 - 100 * $1 / $2 }"; }

row_delta() {
    local sent received
    begin "$place/delta.log" env TMPDIR="$place" "$annals" bench delta --entries "$delta_mib"
    finish "$started" "$place/delta.log"
    # Size, edit (five words), bytes to the server, bytes to the device.
    read -r sent received < <(
        awk -v size=$((delta_mib << 20)) '$1 == size && /a byte at the head/ { print $7, $8 }' "$place/delta.log"
    )
    note delta-sent "$sent" && note delta-received "$received"
    line "a byte at the head of $delta_mib MiB, on the wire" "$sent B to the server, $received B to the device" "" "" \
        "$(bar "($sent > $received ? $sent : $received)" 262144 "256 KiB each")"
}

# ---- One run --------------------------------------------------------------------------------------------------------

trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
place=$(mktemp -d "$temp/peers.XXXXXX")
mkdir "$place/figures" "$place/discarded"
tree=$place/tree
# Tools that keep something in a home find one here.
export HOME=$place/home
mkdir "$HOME"

free_kib() { df -Pk "$place" | awk 'NR == 2 { print $4 }'; }
if [ -n "$tree_given" ]; then
    [ "$(free_kib)" -gt $(($(du -sk "$tree_given" | cut -f 1) * 12 * runs)) ] || die "too little free space in $temp"
    say "copying $tree_given"
    cp -a "$tree_given" "$tree"
    what=$(basename "$tree_given")
else
    say "making a tree of $files files"
    make_tree "$tree" "$files"
    what="the tree that it makes"
fi
forget_state
count=$(count_files "$tree") regular=$(count_files "$tree" f)
if [[ " $rows " == *" delta "* ]]; then
    [ "$(free_kib)" -gt $((delta_mib * 5 * 1024)) ] || die "too little free space in $temp for a file of $delta_mib MiB"
fi
load() { cut -d ' ' -f 1 /proc/loadavg; }
load_before=$(load)
find "$tree" -type f -exec cat {} + >/dev/null

line "$what: $count files, $(in_bytes "$(bytes_of "$tree")")" "Annals" "beside" "ratio" "bar"
line "---" "---" "---" "---" "---"
for row in $rows; do "row_$row"; done

cat "$place/table"
echo
echo "$("$annals" --version), $(restic version | cut -d ' ' -f 1,2), rsync $(rsync --version | awk 'NR == 1 { print $3 }')," \
    "$(unison -version | cut -d ' ' -f 1,3), Syncthing $(syncthing --version | cut -d ' ' -f 2);" \
    "$(nproc) cores, $(df -PT "$place" | awk 'NR == 2 { print $2 }'), Linux $(uname -r | cut -d - -f 1);" \
    "load $load_before before, $(load) after; $runs run(s), medians."
echo "The column of ratios is Annals / beside, of one run on one machine; everything else is this machine's at this moment."
echo "Not alike: restic and Syncthing encrypt, Annals speaks plain HTTP on loopback, and signs every event; Syncthing has no server between."
