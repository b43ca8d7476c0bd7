#!/usr/bin/env bash
# Makes pictures of rum's screens, dark and light, to be looked at: tests/cli/pictures.sh FOLDER. Needs pango-view (Debian:
# pango1.0-tools, fonts-dejavu-core).
set -euo pipefail
folder=$(realpath -m "${1:?where to put them}")
mkdir -p "$folder"
cd "$(dirname "$0")/../.."
command -v pango-view >/dev/null || { echo "pictures.sh: pango-view is missing: apt-get install pango1.0-tools" >&2; exit 1; }
RUM_TEST_PICTURES=$folder bazel run //tests/cli:screens_test || echo "screens differ from testdata/screens.txt; going on" >&2
for markup in "$folder"/*.pango; do
  while read -r kind ground ink; do
    pango-view --markup -q --font='DejaVu Sans Mono 11' --margin=16 --background="$ground" --foreground="$ink" \
      --output="${markup%.pango}-$kind.png" "$markup"
  done <<'GROUNDS'
dark #16181d #d7dae0
light #ffffff #24272e
GROUNDS
done
ls "$folder"/*.png
