#!/usr/bin/env bash
# Runs an e2e binary in a libvirtd of its own: run.sh ISOLATED BINARY RUM CONTROLLER AGENT URI [TEST_OPTION...]. See BUILD.bazel.
# qemu:///session is an ordinary user's: as root there is no session of libvirt's.
set -euo pipefail
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
[ ! -e tests/testdata/bad_files.txt ] || cp tests/testdata/bad_files.txt "$stage"
[ ! -e tests/bench/traffic_server ] || cp tests/bench/traffic_server "$stage"
chmod 755 "$stage"/*
ln "$RUM_TEST_IMAGE" "$stage/image.qcow2" 2>/dev/null || cp "$RUM_TEST_IMAGE" "$stage/image.qcow2"
chmod a+r "$stage/image.qcow2"
busybox=${RUM_TEST_IMAGE%/*}/busybox.qcow2 # tools/test puts it there
if [ -e "$busybox" ]; then
  ln "$busybox" "$stage/busybox.qcow2" 2>/dev/null || cp "$busybox" "$stage/busybox.qcow2"
  chmod a+r "$stage/busybox.qcow2"
fi
as=()
[ "$uri" != qemu:///session ] || as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
cd "$stage"
# Bazel's files are root's, and GoogleTest crashes where it cannot open the second one.
unset XML_OUTPUT_FILE TEST_PREMATURE_EXIT_FILE TEST_WARNINGS_OUTPUT_FILE
"$isolated" "${as[@]}" env RUM_BINARY="$stage/rum" RUM_AGENT="$stage/rum-agent" \
  RUM_TEST_IMAGE="$stage/image.qcow2" RUM_TEST_BUSYBOX_IMAGE="$stage/busybox.qcow2" RUM_TEST_URI="$uri" LC_ALL=C.UTF-8 "$stage/test" "${@:7}"
