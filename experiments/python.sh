#!/usr/bin/env bash
# Runs Python in the environment of run_all.sh, which is made on first use; $PYTHON overrides it.
set -euo pipefail
if [[ -z "${PYTHON:-}" ]]; then
  source "${BASH_SOURCE[0]%/*}/environment.sh"
  prepare_environment >&2
fi
exec "$PYTHON" "$@"
