#!/usr/bin/env bash
# Checks Dockerfile, systemd unit, manual page and scripts, without a build. What checks them and is not installed is named.
set -euo pipefail
cd "$(dirname "$0")/.."

output=$(mktemp)
trap 'rm -rf "$output" "$output.service"' EXIT

installed() {
  command -v "$1" >/dev/null || { echo "NOT CHECKED, $1 is missing: $2" >&2; return 1; }
}

# They warn, and end with 0.
silent() {
  if ! "$@" >"$output" 2>&1 || [[ -s $output ]]; then
    cat "$output" >&2
    exit 1
  fi
}

scripts=(packaging/*.sh packaging/debian/post{inst,rm} tests/openapi/check.sh .ci/run)
if installed shellcheck "${scripts[*]}"; then
  silent shellcheck "${scripts[@]}"
else
  for script in "${scripts[@]}"; do silent bash -n "$script"; done
fi
if installed hadolint Dockerfile; then silent hadolint Dockerfile; fi
if installed groff packaging/kai.1; then silent groff -man -Tutf8 -ww -z packaging/kai.1; fi
if installed systemd-analyze packaging/kai.service; then
  # Neither program nor manual page is installed here.
  sed 's|/usr/bin/kai|/bin/true|; /^Documentation=/d' packaging/kai.service >"$output.service"
  silent systemd-analyze verify "$output.service"
  systemd-analyze security --offline=true --threshold=20 --no-pager "$output.service" >"$output" ||
    { tail -n 1 "$output" >&2; exit 1; }
fi
