#!/usr/bin/env bash
# Runs an e2e binary in a libvirtd of its own: run.sh ISOLATED BINARY RUM CONTROLLER AGENT URI [TEST_OPTION...]. See BUILD.bazel.
# qemu:///session is an ordinary user's: as root there is no session of libvirt's.
set -euo pipefail
if [ -n "${BUILD_WORKSPACE_DIRECTORY-}" ]; then # by `bazel run`
  RUM_TEST_IMAGE=${XDG_CACHE_HOME:-$HOME/.cache}/rum/images/debian-12-lean.qcow2
  "$BUILD_WORKSPACE_DIRECTORY"/tools/guest-image --lean --output "$RUM_TEST_IMAGE"
fi
: "${RUM_TEST_IMAGE:?is not set: run the tests by tools/test, which builds the guest image}"
isolated=$PWD/$1 uri=$6
stage=$(mktemp -d /tmp/rum-e2e-stage-XXXXXX) # where another user can read it
trap 'rm -rf "$stage"' EXIT
trap 'exit 130' INT TERM
chmod 755 "$stage"
cp "$2" "$stage/test"
cp "$3" "$stage/rum"
cp "$4" "$stage/rum-controller"
cp "$5" "$stage/rum-agent"
[ ! -e agent-api/guest/previous-rum-agent ] || cp agent-api/guest/previous-rum-agent "$stage"
[ ! -e tests/testdata/bad_files.txt ] || cp tests/testdata/bad_files.txt "$stage"
[ ! -e tests/controller/listeners/stream_carrier_in_guest ] || cp tests/controller/listeners/stream_carrier_in_guest "$stage"
[ ! -e tests/bench/in_guest ] || cp tests/bench/in_guest "$stage"
chmod 755 "$stage"/*
ln "$RUM_TEST_IMAGE" "$stage/image.qcow2" 2>/dev/null || cp "$RUM_TEST_IMAGE" "$stage/image.qcow2"
chmod a+r "$stage/image.qcow2"
booted=${RUM_TEST_IMAGE%.qcow2}-booted.qcow2
for image in "$booted" "${RUM_TEST_IMAGE%/*}"/{busybox,sysvinit}.qcow2; do # tools/test puts them there
  [ -e "$image" ] || continue
  name=${image##*/}
  [ "$image" != "$booted" ] || name=booted.qcow2
  ln "$image" "$stage/$name" 2>/dev/null || cp "$image" "$stage/$name"
  chmod a+r "$stage/$name"
done
as=() options=()
# libvirtd 9.0 dies of a folder that it attaches where machines have no cgroup.
case ${2##*/} in live_devices | live_edits) options=(--cgroups) ;; esac
if [ "$uri" = qemu:///session ]; then
  # An ordinary user of this test's own, whom only its mount namespace knows.
  cat >"$stage/as-user" <<'SCRIPT'
#!/bin/bash
set -euo pipefail
for table in passwd group; do cp "/etc/$table" "/run/$table"; done
echo "rumtest:x:61234:61234::$PWD:/bin/bash" >>/run/passwd
echo "rumtest:x:61234:" >>/run/group
for table in passwd group; do mount --bind "/run/$table" "/etc/$table"; done
exec setpriv --reuid=61234 --regid=61234 --clear-groups "$@"
SCRIPT
  chmod 755 "$stage/as-user"
  as=("$stage/as-user")
fi
cd "$stage"
# Bazel's files are root's, and GoogleTest crashes where it cannot open the second one.
unset XML_OUTPUT_FILE TEST_PREMATURE_EXIT_FILE TEST_WARNINGS_OUTPUT_FILE
"$isolated" "${options[@]}" -- "${as[@]}" env RUM_BINARY="$stage/rum" RUM_AGENT="$stage/rum-agent" \
  RUM_TEST_IMAGE="$stage/image.qcow2" RUM_TEST_BOOTED_IMAGE="$stage/booted.qcow2" RUM_TEST_BUSYBOX_IMAGE="$stage/busybox.qcow2" \
  RUM_TEST_SYSVINIT_IMAGE="$stage/sysvinit.qcow2" RUM_IN_GUEST="$stage/in_guest" RUM_TEST_URI="$uri" LC_ALL=C.UTF-8 "$stage/test" "${@:7}"
