#!/usr/bin/env bash
# Makes pictures of rum's screens, dark and light, to be looked at: tests/cli/pictures.sh FOLDER. Needs ImageMagick with Pango
# (Debian: imagemagick, fonts-dejavu-core).
set -euo pipefail
folder=$(realpath -m "${1:?where to put them}")
mkdir -p "$folder"
cd "$(dirname "$0")/../.."
bazel build //tests/cli:screens_test
RUM_TEST_PICTURES=$folder bazel run //tests/cli:screens_test || echo "screens differ from testdata/screens.txt; going on" >&2
for markup in "$folder"/*.pango; do
  while read -r kind ground ink; do
    convert -background "$ground" -fill "$ink" -define pango:markup=true -font 'DejaVu Sans Mono' -pointsize 11 \
      "pango:@$markup" -bordercolor "$ground" -border 16 "${markup%.pango}-$kind.png"
  done <<'GROUNDS'
dark #16181d #d7dae0
light #ffffff #24272e
GROUNDS
done
ls "$folder"/*.png
