#!/usr/bin/env bash
# Drives a text-to-image job with a Python and a JavaScript SDK. See README.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
ebb=${EBB:-$root/target/release/ebb}
work=$(mktemp -d)
server=
finish() { [ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; rm -rf "$work"; }
trap finish EXIT

cp "$here"/package.json "$here"/text_to_image.mjs "$work"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet -r "$here/requirements.txt"
(cd "$work" && npm install --silent --no-fund --no-audit)

ln -s "$root/models" "$work/models"
"$ebb" serve --port 0 --base-directory "$work" >"$work/address" 2>"$work/log" &
server=$!
for _ in $(seq 100); do [ -s "$work/address" ] && break; sleep 0.1; done
address=$(head -1 "$work/address")
[ -n "$address" ] || { echo "ebb serve did not start:"; cat "$work/log"; exit 1; }

# The description of /v1, read by a validator that is not ours.
"$work/venv/bin/python" - "$address" <<'PYTHON'
import json, sys, urllib.request
from openapi_spec_validator import validate
document = json.load(urllib.request.urlopen(sys.argv[1] + "/v1/openapi.json"))
validate(document)
print(f"OpenAPI {document['openapi']}: valid, {len(document['paths'])} paths")
PYTHON
"$work/venv/bin/python" "$here/text_to_image.py" "$address" "$root/workflows/text-to-image.json"
(cd "$work" && node text_to_image.mjs "$address" "$root/workflows/text-to-image.json")
