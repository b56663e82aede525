#!/usr/bin/env bash
# Boots the official front end against Ebb in headless Chromium. See README.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
ebb=${EBB:-$root/target/release/ebb}
version=${VERSION:-1.27.10}
chromium=${CHROMIUM:-$(command -v chromium || true)}
if [ -z "$chromium" ]; then
  echo "skipped: there is no chromium on this machine"
  [ "${CI:-}" = true ] && exit 1
  exit 0
fi
work=$(mktemp -d)
out=${OUT:-$work/screenshots}
mkdir -p "$out"
server=
finish() { [ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; rm -rf "$work"; }
trap finish EXIT

cp "$here"/package.json "$here"/boot.mjs "$work"
(cd "$work" && npm install --silent --no-fund --no-audit)
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-deps "comfyui-frontend-package==$version"
static=$(echo "$work"/venv/lib/python*/site-packages/comfyui_frontend_package/static)

ln -s "$root/models" "$work/models"
"$ebb" serve --port 0 --base-directory "$work" --front-end "$static" >"$work/address" 2>"$work/log" &
server=$!
for _ in $(seq 100); do [ -s "$work/address" ] && break; sleep 0.1; done
address=$(head -1 "$work/address")
[ -n "$address" ] || { echo "ebb serve did not start:"; cat "$work/log"; exit 1; }
(cd "$work" && node boot.mjs "$address" "$chromium" "$root/workflows/text-to-image.json" "$out")
