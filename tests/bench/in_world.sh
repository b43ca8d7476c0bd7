#!/usr/bin/env bash
# What `bazel run //tests/bench:NAME` runs: the guest image, a libvirtd of its own, then the measurement in it.
# in_world.sh ISOLATED BINARY RUM AGENT IN_GUEST [OPTION...]. Only the result goes to standard output.
set -euo pipefail
isolated=$PWD/$1 binary=$PWD/$2 rum=$PWD/$3 agent=$PWD/$4 in_guest=$PWD/$5
shift 5
case " $* " in *' --help '* | *' -h '*) exec "$binary" --help ;; esac
: "${BUILD_WORKSPACE_DIRECTORY:?is not set: run this by  bazel run //tests/bench:NAME}"
for tool in ssh ssh-keygen socat ansible; do
  command -v $tool >/dev/null || { echo "${binary##*/}: $tool is missing; tools/setup-machine installs it" >&2; exit 1; }
done
image=${XDG_CACHE_HOME:-$HOME/.cache}/rum/images/debian-12-bench.qcow2
"$BUILD_WORKSPACE_DIRECTORY"/tools/guest-image --lean --include openssh-server,qemu-guest-agent --output "$image" >&2
exec "$isolated" env RUM_BINARY="$rum" RUM_AGENT="$agent" RUM_IN_GUEST="$in_guest" RUM_TEST_IMAGE="$image" LC_ALL=C.UTF-8 "$binary" "$@"
