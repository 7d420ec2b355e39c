#!/usr/bin/env bash
# Lint, the layout rules and the tests, in the project's own environment.
#
#   ./tests/run.sh [--all] [arguments of pytest]
#
#   --all   also the tests marked slow
#
# The tests run in two processes, each with whole files. `-n 0` runs them in one, `-n 4` in four.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/../experiments/environment.sh"

pytest_arguments=()
for argument in "$@"; do
  case "$argument" in
    --all) pytest_arguments+=(-m "") ;; # replaces the selection that pyproject.toml makes
    --help | -h)
      sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *) pytest_arguments+=("$argument") ;;
  esac
done

prepare_environment
cd "$ROOT"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
exec "$PYTHON" -m pytest -n 2 --dist loadfile --no-loadscope-reorder "${pytest_arguments[@]}"
