#!/usr/bin/env bash
# CPU seconds and memory of an emulated guest's boot and reboots, by how much translated code QEMU keeps.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: tests/bench/translations.sh [--rounds N] IMAGE [MIB...]
Boots IMAGE (which is not written to) with QEMU alone, reboots it twice, N rounds (default 3) in turn for each MIB
(default: 0, which is QEMU's own bound, and 128), and prints the means.
EOF
}

rounds=3
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
  local accel=tcg boot reboots resident
  (($1 == 0)) || accel+=,tb-size=$1
  : >"$work/console"
  coproc QEMU { exec qemu-system-x86_64 -machine q35 -accel "$accel" -cpu max -m 512 -display none -nodefaults \
    -drive "file=$image,if=virtio,snapshot=on" -serial "file:$work/console" -device virtio-serial -monitor stdio; }
  await_boot 1
  boot=$(ticks)
  for reboot in 1 2; do
    echo 'sendkey ctrl-alt-delete' >&"${QEMU[1]}"
    await_boot $((1 + reboot))
  done
  reboots=$((($(ticks) - boot) / 2))
  resident=$(awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$QEMU_PID/status")
  echo quit >&"${QEMU[1]}"
  wait "$QEMU_PID" || true
  echo "$1 $boot $reboots $resident" >>"$work/results"
}

for ((round = 1; round <= rounds; round++)); do
  for size in "${sizes[@]}"; do one "$size"; done
done
awk -v hertz="$(getconf CLK_TCK)" '
  {boot[$1] += $2 / hertz; reboot[$1] += $3 / hertz; memory[$1] += $4; n[$1]++}
  END {for (m in n) printf "%s MiB: boot %.0f, reboot %.0f CPU s; %d MiB resident\n", m, boot[m] / n[m], reboot[m] / n[m], memory[m] / n[m]}
' "$work/results" | sort -n
