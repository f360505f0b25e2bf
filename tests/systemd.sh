#!/usr/bin/env bash
# Does systemd/taxiway.service keep its promises?
#
# usage: TAXIWAY_BIN=PATH tests/systemd.sh [--no-container | --make-container]
#
# Where systemd-analyze is installed: the unit is valid, and hardened to an exposure of at most 2.0. As root, with
# systemd-nspawn and debootstrap: a small Debian is made once below target/, booted with a systemd of its own and no
# network but loopback, and there the given binary runs under the unit as systemd/README.md installs it, against its own
# simulator. Nothing on this machine changes but target/: what happens inside goes to memory and is gone afterwards.
#
# --no-container leaves that out; --make-container only makes the small Debian.
#
# Results go to stdout, one line each; the last line is `systemd: N passed, N failed, N skipped`. Exit code 1 when
# something failed.
set -euo pipefail

readonly max_exposure=2.0
# Inside the container: where results go.
readonly results=/result

mode=outside
passed=0
failed=0
skipped=0

pass() {
    passed=$((passed + 1))
    printf 'ok       %s\n' "$1"
    note_counts
}

fail() {
    failed=$((failed + 1))
    printf 'FAILED   %s\n' "$1"
    note_counts
    if [[ $# -gt 1 ]]; then printf '%s\n' "$2" | sed 's/^/         /'; fi
}

skip() {
    skipped=$((skipped + 1))
    printf 'skipped  %s: %s\n' "$1" "$2"
}

# Inside the container the counts go to a file at every step, so that they hold even if the test is cut short.
note_counts() {
    if [[ $mode == inside ]]; then printf '%s %s\n' "$passed" "$failed" >"$results/counts"; fi
}

# check NAME COMMAND…: the command's exit code decides, its output is shown when it fails.
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then pass "$name"; else fail "$name" "$output"; fi
}

# within SECONDS COMMAND…: tries every 100 ms until the command succeeds or the time is over.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= end)); then
            printf 'not within the time: %s\n' "$*"
            return 1
        fi
        sleep 0.1
    done
}

equal() {
    if [[ $1 != "$2" ]]; then
        printf 'expected "%s", got "%s"\n' "$2" "$1"
        return 1
    fi
}

# --- On this machine -------------------------------------------------------------------------------------------------

# A unit is only valid where its programs are present, so a copy that starts another one is looked at.
check_unit() {
    if ! command -v systemd-analyze >/dev/null; then
        skip 'the unit is valid' 'systemd-analyze is not installed'
        skip "the unit's exposure is at most $max_exposure" 'systemd-analyze is not installed'
        return
    fi
    local copy=$work/taxiway.service output exposure
    sed 's#^ExecStart=/usr/bin/taxiway #ExecStart=/bin/true #' "$root/systemd/taxiway.service" >"$copy"

    if output=$(systemd-analyze verify "$copy" 2>&1) && [[ -z $output ]]; then
        pass 'systemd-analyze verify prints nothing about the unit'
    else
        fail 'systemd-analyze verify prints nothing about the unit' "$output"
    fi

    output=$(systemd-analyze security --offline=true --no-pager "$copy" 2>&1) || true
    exposure=$(sed -nE 's/^.*Overall exposure level for taxiway\.service: ([0-9]+\.[0-9]+) .*$/\1/p' <<<"$output")
    if [[ -n $exposure ]] && awk -v have="$exposure" -v max="$max_exposure" 'BEGIN { exit !(have <= max) }'; then
        pass "the unit's exposure is at most $max_exposure: $exposure"
    else
        fail "the unit's exposure is at most $max_exposure: ${exposure:-no figure}" "$output"
    fi
}

# Makes the container's system, once. It is complete when its stamp says what it was made with.
make_rootfs() {
    local rootfs=$1 suite=$2 include=systemd,systemd-sysv,dbus,procps,ca-certificates
    if [[ -f $rootfs.stamp && $(<"$rootfs.stamp") == "$include" ]]; then return; fi
    echo "Making a small Debian ($suite) for the container; this takes some minutes, but only once." >&2
    rm -rf --one-file-system "$rootfs" "$rootfs.stamp"
    mkdir -p "$(dirname "$rootfs")"
    local log=$work/debootstrap.log
    if ! timeout -k 10 1200 debootstrap --variant=minbase --include="$include" "$suite" "$rootfs" >"$log" 2>&1; then
        tail -n 5 "$log"
        return 1
    fi
    printf '%s\n' "$include" >"$rootfs.stamp"
}

check_in_container() {
    local name='the service in a container with a systemd of its own' binary=${TAXIWAY_BIN-} missing=() tool
    for tool in systemd-nspawn debootstrap flock timeout; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    if [[ $container == no ]]; then
        skip "$name" 'left out by --no-container'
        return
    elif [[ $EUID -ne 0 ]]; then
        skip "$name" 'it needs root'
        return
    elif [[ ${#missing[@]} -gt 0 ]]; then
        skip "$name" "not installed: ${missing[*]}"
        return
    elif [[ -z $binary ]]; then
        skip "$name" 'TAXIWAY_BIN names no binary'
        return
    elif [[ ! -x $binary ]]; then
        fail "$name" "TAXIWAY_BIN=$binary is not a program that can be run"
        return
    fi
    binary=$(realpath "$binary")

    local output
    if ! flock -w 1500 9; then
        fail "$name" "$rootfs is in use by another run"
        return
    fi
    if ! output=$(make_rootfs "$rootfs" "$suite"); then
        fail "$name" "debootstrap failed:"$'\n'"$output"
        return
    fi

    local nspawn=(systemd-nspawn --quiet --register=no --private-network --volatile=overlay --console=pipe
        --directory="$rootfs" --machine="taxiway-test-$$")
    # Without a systemd on this machine there is nobody to ask for a unit for the container.
    [[ -d /run/systemd/system ]] || nspawn+=(--keep-unit)
    if ! output=$(timeout -k 5 60 "${nspawn[@]}" /bin/true </dev/null 2>&1); then
        skip "$name" "systemd-nspawn cannot run here: $(head -n 1 <<<"$output")"
        return
    fi
    nspawn+=(--bind-ro="$binary:/usr/bin/taxiway")
    if ! output=$(timeout -k 5 60 "${nspawn[@]}" taxiway --version </dev/null 2>&1); then
        if grep -q "GLIBC_.* not found" <<<"$output"; then
            skip "$name" "the binary was built for a newer C library than that of Debian $suite"
        else
            fail "$name" "taxiway --version fails in the container:"$'\n'"$output"
        fi
        return
    fi

    mkdir "$work/result"
    cat >"$work/test.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
Environment=HOME=/root
ExecStart=/usr/local/bin/systemd-test --inside
StandardOutput=file:/result/lines
StandardError=file:/result/errors
TimeoutStartSec=480
ExecStopPost=/bin/sh -c 'journalctl --no-pager -o short-precise -u taxiway -u simulator >/result/journal 2>&1'
ExecStopPost=/bin/systemctl poweroff --no-block
UNIT
    cat >"$work/simulator.service" <<'UNIT'
[Service]
Type=exec
ExecStart=/usr/bin/taxiway simulate --listen 127.0.0.1:8787 --task-seconds 1
UNIT
    timeout -k 10 540 "${nspawn[@]}" --boot --tmpfs=/srv:mode=0755 \
        --bind="$work/result:$results" \
        --bind-ro="$root/systemd/taxiway.service:/etc/systemd/system/taxiway.service" \
        --bind-ro="$root/tests/systemd.sh:/usr/local/bin/systemd-test" \
        --bind-ro="$work/test.service:/etc/systemd/system/test.service" \
        --bind-ro="$work/simulator.service:/etc/systemd/system/simulator.service" \
        systemd.wants=test.service </dev/null >"$work/console" 2>&1 || true

    if [[ -f $work/result/lines ]]; then cat "$work/result/lines"; fi
    local inside_passed=0 inside_failed=0
    if [[ -f $work/result/counts ]]; then read -r inside_passed inside_failed <"$work/result/counts"; fi
    passed=$((passed + inside_passed))
    failed=$((failed + inside_failed))
    if [[ ! -f $work/result/complete ]]; then
        fail "$name: the test comes to its end" "$(tail -n 40 "$work/console" "$work/result/errors" 2>&1)"
    elif ((inside_failed == 0)); then
        return
    fi
    if [[ -f $work/result/journal ]]; then
        printf '\nThe journal of the service, last lines:\n'
        tail -n 80 "$work/result/journal"
    fi
}

# --- Inside the container --------------------------------------------------------------------------------------------

show() { systemctl show --value -p "$1" taxiway; }
is() { equal "$(show "$1")" "$2"; }
has_status_line() { systemctl status --no-pager --full taxiway | grep -E '^ +Status: ".+"$'; }
log_says() { journalctl --sync && journalctl --no-pager -o cat -u taxiway | grep -F -- "$1"; }
another_process_is_active() { [[ $(show MainPID) != "$1" && $(show ActiveState) == active ]]; }
ended_by_the_configuration() { is ActiveState failed && is ExecMainStatus 3 && is NRestarts 0; }
stopped_well() { is ActiveState inactive && is Result success && is ExecMainStatus 0; }
secret_is_nowhere() {
    ! log_says "$key" && ! tr '\0' '\n' <"/proc/$(show MainPID)/environ" | grep -F -- "$key"
}

# A watch of the folder among the process's inotify watches, which the kernel lists by inode.
is_watched() {
    local inode
    inode=$(printf '%x' "$(stat -c %i "$1")")
    cat "/proc/$(show MainPID)/fdinfo/"* 2>/dev/null | grep -E "^inotify wd:[0-9a-f]+ ino:$inode "
}

# drop FOLDER NAME: a whole job, written by a person of the group.
drop() {
    runuser -u anna -- tee "$1/$2.yaml" >/dev/null <<'YAML'
endpoint: text_to_video
model: veo3.1_fast
prompt: Rain on a harbour at night, slow pan to the left
ratio: "1280:720"
duration: 4
YAML
}

is_video() { head -c 12 "$1" | grep -a -q ftyp; }
is_readable_by_group() {
    local mode
    mode=$(stat -c '%G %A' "$1")
    if [[ ! $mode =~ ^studio\ -r..r ]]; then
        printf 'group and mode: %s\n' "$mode"
        return 1
    fi
}

delivered() { [[ -f $1 ]] && [[ -f $1.yaml ]]; }

set_up() {
    groupadd --force studio
    useradd --system --user-group --groups studio --no-create-home --home-dir /var/lib/taxiway \
        --shell /usr/sbin/nologin taxiway
    useradd --groups studio --no-create-home anna
    install -d -g studio -m 2775 /srv/studio /srv/studio/inbox /srv/studio/second
    install -d -m 755 /etc/taxiway
    install -m 600 /dev/stdin /etc/taxiway/api-key <<<"$key"
    cat >/etc/taxiway/taxiway.yaml <<'YAML'
state_dir: /var/lib/taxiway
runway:
  base_url: http://127.0.0.1:8787
  poll_interval: 250ms
inboxes:
  - path: /srv/studio/inbox
YAML
}

# with_drop_in NAME TEXT: a drop-in until the container ends.
with_drop_in() {
    install -d /run/systemd/system/taxiway.service.d
    printf '[Service]\n%s\n' "$2" >"/run/systemd/system/taxiway.service.d/$1.conf"
    systemctl daemon-reload
}

inside() {
    key=key_$(head -c 64 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
    readonly key
    set_up
    systemctl start simulator
    check 'the simulator answers on loopback' within 20 bash -c ': </dev/tcp/127.0.0.1/8787'

    # The unit without the daemon: a program that never sends READY is never active.
    with_drop_in silent $'ExecStart=\nExecStart=/bin/sleep 60\nTimeoutStartSec=2\nRestart=no'
    if systemctl start taxiway 2>/dev/null; then
        fail 'a program that never says READY never counts as started'
    else
        check 'a program that never says READY never counts as started' is Result timeout
    fi
    rm /run/systemd/system/taxiway.service.d/silent.conf
    systemctl daemon-reload
    systemctl reset-failed taxiway

    check 'the service starts' timeout 60 systemctl start taxiway
    check 'the inbox is watched as soon as the service counts as started' is_watched /srv/studio/inbox
    check 'the service is active' is ActiveState active
    if ! is ActiveState active >/dev/null; then
        echo '         Nothing else is tried with a service that does not start.'
        return
    fi
    check 'systemctl status shows a Status: line' within 5 has_status_line
    check 'the service runs as its own user' equal "$(stat -c %U "/proc/$(show MainPID)")" taxiway

    drop /srv/studio/inbox storm
    check 'a dropped text_to_video sidecar comes out in the outbox' within 30 delivered /srv/studio/outbox/storm.mp4
    check 'the output is a video' is_video /srv/studio/outbox/storm.mp4
    check 'the output belongs to the group of the shared folder, which may read it' \
        is_readable_by_group /srv/studio/outbox/storm.mp4
    check 'a person of the group may take the output away' \
        runuser -u anna -- mv /srv/studio/outbox/storm.mp4 /srv/studio/taken.mp4
    check 'taxiway status, run as root, knows the job' \
        within 10 timeout 10 bash -c 'cd / && taxiway status --json | grep -E "\"state\": ?\"done\""'
    check 'the key is in neither the log nor the environment' secret_is_nowhere

    # Reloads: first a bad configuration, then a good one with a second inbox.
    local pid
    pid=$(show MainPID)
    cp /etc/taxiway/taxiway.yaml /etc/taxiway/good.yaml
    echo 'no_such_key: 1' >>/etc/taxiway/taxiway.yaml
    check 'reload with an invalid configuration returns' timeout 20 systemctl reload taxiway
    check 'the log names what is wrong with the configuration' within 10 log_says no_such_key
    check 'the service is active after the refused reload' within 10 is ActiveState active
    drop /srv/studio/inbox refused
    check 'the old configuration is still in force' within 30 delivered /srv/studio/outbox/refused.mp4
    check 'the refused reload kept the process' is MainPID "$pid"

    { cat /etc/taxiway/good.yaml; printf '  - name: second\n    path: /srv/studio/second/inbox\n'; } >/etc/taxiway/taxiway.yaml
    install -d -g studio -m 2775 /srv/studio/second/inbox
    check 'reload with a second inbox returns' timeout 20 systemctl reload taxiway
    check 'the service is active after the reload' within 10 is ActiveState active
    drop /srv/studio/second/inbox later
    check 'the second inbox delivers after the reload' within 30 delivered /srv/studio/second/outbox/later.mp4
    check 'the reload kept the process' is MainPID "$pid"

    # Stop with a job in flight; it comes out after the next start.
    drop /srv/studio/inbox flight
    check 'a job is taken before the stop' within 30 test ! -e /srv/studio/inbox/flight.yaml
    check 'stop ends within 10 s with a job in flight' timeout 10 systemctl stop taxiway
    check 'the service stopped with success' stopped_well
    with_drop_in watchdog $'WatchdogSec=3\nRestartSec=1'
    check 'the service starts again' timeout 60 systemctl start taxiway
    check 'the job in flight is delivered after the start' within 30 delivered /srv/studio/outbox/flight.mp4

    # With a watchdog of 3 s: longer than that without being killed, and killed when it hangs.
    pid=$(show MainPID)
    sleep 5
    check 'the watchdog is kept content' is MainPID "$pid"
    kill -STOP "$pid"
    check 'a daemon that hangs is started anew' within 40 another_process_is_active "$pid"

    # Exit code 3 is not tried again.
    timeout 30 systemctl stop taxiway || true
    systemctl reset-failed taxiway 2>/dev/null || true
    echo 'no_such_key: 1' >>/etc/taxiway/taxiway.yaml
    if timeout 60 systemctl start taxiway 2>/dev/null; then
        fail 'the service does not start with an invalid configuration'
    else
        pass 'the service does not start with an invalid configuration'
    fi
    sleep 2
    check 'an invalid configuration ends with exit code 3 and no restart' ended_by_the_configuration
    cp /etc/taxiway/good.yaml /etc/taxiway/taxiway.yaml

    # Over to a user made by systemd, as systemd/README.md says.
    systemctl reset-failed taxiway
    userdel taxiway
    with_drop_in dynamic $'DynamicUser=yes\nSupplementaryGroups=studio'
    check 'the service starts with DynamicUser=yes on the state it had' timeout 60 systemctl start taxiway
    drop /srv/studio/inbox dynamic
    check 'it delivers with DynamicUser=yes' within 30 delivered /srv/studio/outbox/dynamic.mp4
    check 'that output belongs to the group, too' is_readable_by_group /srv/studio/outbox/dynamic.mp4
    check 'taxiway status, run as root, works with DynamicUser=yes' \
        timeout 20 bash -c 'cd / && taxiway status --json | grep dynamic'
    check 'it stops within 10 s' timeout 10 systemctl stop taxiway
    check 'it stopped with success' stopped_well
}

# --- The two ways in -------------------------------------------------------------------------------------------------

if [[ ${1-} == --inside ]]; then
    mode=inside
    inside
    touch "$results/complete"
    exit 0
fi

container=yes
case "${1-}" in
'') ;;
--no-container) container=no ;;
--make-container) container='make' ;;
*)
    echo "usage: TAXIWAY_BIN=PATH tests/systemd.sh [--no-container | --make-container]" >&2
    exit 2
    ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The Debian of this machine if it is one, since a binary that was built here needs a C library at least as new.
# shellcheck source=/dev/null
suite=$(. /etc/os-release && if [[ ${ID-} == debian ]]; then echo "${VERSION_CODENAME-}"; fi)
suite=${suite:-bookworm}
rootfs=$target/systemd-rootfs-$suite
mkdir -p "$target"
exec 9>"$rootfs.lock"
if [[ $container == make ]]; then
    flock -w 1500 9
    make_rootfs "$rootfs" "$suite"
    exit
fi

check_unit
check_in_container
printf '\nsystemd: %s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
