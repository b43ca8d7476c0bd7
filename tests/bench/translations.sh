#!/usr/bin/env bash
# CPU seconds and memory of an emulated guest's boot and reboots, by how much translated code QEMU keeps.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: tests/bench/translations.sh [--rounds N] IMAGE [MIB...]
Boots IMAGE (which is not written to) with QEMU alone and reboots it three times, N rounds (default 1) in turn for each MIB
(default: 0, which is QEMU's own bound, and 128).
EOF
}

rounds=1
hertz=$(getconf CLK_TCK)
while (($#)); do
  case $1 in
    --rounds) (($# > 1)) || { usage >&2; exit 2; }; rounds=$2; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *) break ;;
  esac
done
if (($# == 0)) || ! [ -r "$1" ]; then usage >&2; exit 2; fi
image=$1
shift
sizes=("$@")
((${#sizes[@]})) || sizes=(0 128)
work=$(mktemp -d)
trap 'rm -rf "$work"; [ -z "${QEMU_PID-}" ] || kill "$QEMU_PID"' EXIT

ticks() { local fields; read -ra fields < <(sed 's/.*) //' "/proc/$QEMU_PID/stat"); echo $((fields[11] + fields[12])); }

# Waits for the Nth boot, and until the guest has nothing left to do: less than a seventh of a CPU for 6 s.
await_boot() {
  local before now=0
  until (($(grep -c 'rum-root: ' "$work/console") >= $1)); do sleep 0.2; done
  while before=$(ticks) && sleep 6 && now=$(ticks) && ((now - before > 85)); do :; done
}

one() { # MIB
  local accel=tcg last now reboot took=()
  (($1 == 0)) || accel+=,tb-size=$1
  : >"$work/console"
  coproc QEMU { exec qemu-system-x86_64 -machine q35 -accel "$accel" -cpu max -m 512 -display none -nodefaults \
    -drive "file=$image,if=virtio,snapshot=on" -serial "file:$work/console" -device virtio-serial -monitor stdio >/dev/null; }
  await_boot 1
  last=$(ticks)
  printf '%s MiB: boot %d CPU s' "$1" $((last / hertz))
  for reboot in 1 2 3; do
    echo 'sendkey ctrl-alt-delete' >&"${QEMU[1]}"
    await_boot $((1 + reboot))
    now=$(ticks)
    took+=($(((now - last) / hertz)))
    last=$now
  done
  printf ', reboots %d %d %d, %d MiB resident\n' "${took[@]}" "$(awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$QEMU_PID/status")"
  echo quit >&"${QEMU[1]}"
  wait "$QEMU_PID" || true
}

for ((round = 1; round <= rounds; round++)); do
  for size in "${sizes[@]}"; do one "$size"; done
done
