#!/usr/bin/env bash
# Runs an e2e binary in a libvirtd of its own: run.sh ISOLATED BINARY RUM AGENT URI. See BUILD.bazel.
set -euo pipefail
isolated=$PWD/$1 binary=$PWD/$2 rum=$PWD/$3 agent=$PWD/$4 uri=$5
: "${RUM_TEST_IMAGE:?is not set: run the tests by tools/test, which builds the guest image}"
exec "$isolated" env RUM_BINARY="$rum" RUM_AGENT="$agent" RUM_TEST_URI="$uri" \
  RUM_TEST_IMAGE="$RUM_TEST_IMAGE" LC_ALL=C.UTF-8 "$binary"
