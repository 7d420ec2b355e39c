# shellcheck shell=bash
# One environment for both front doors. Sourced by run_all.sh and tests/run.sh, never run itself.
#
#   prepare_environment   makes or repairs .venv in the top folder and sets PYTHON to its python and
#                         DEVICE to cpu or gpu
#
# The environment is finished when its stamp holds the fingerprint of everything it was made from;
# anything else (interrupted, moved, another lock file) is made again from nothing.
# SSL_WEIGHTING_DEVICE=cpu|gpu overrides the choice of the lock file.

ROOT="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="$ROOT/.venv"
STAMP="$VENV/environment.stamp"
MARK="$VENV/made-by-environment-sh" # an environment that somebody made by hand does not have it

say() { printf 'environment: %s\n' "$*"; }
fail() {
  printf 'environment: %s\n' "$*" >&2
  exit 1
}

prepare_environment() {
  isolate_python
  DEVICE="$(choose_device)" || exit 1
  if is_ready "$DEVICE"; then
    say ".venv is up to date ($DEVICE)"
  else
    make_environment "$DEVICE" || exit 1
  fi
  # shellcheck disable=SC2034 # read by the scripts that source this file
  PYTHON="$VENV/bin/python"
}

# Nothing of the user's own Python set-up may reach into the environment.
isolate_python() {
  unset PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX
  export PYTHONNOUSERSITE=1 PYTHONUNBUFFERED=1 KERAS_BACKEND=tensorflow
  export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
}

choose_device() {
  case "${SSL_WEIGHTING_DEVICE:-auto}" in
    cpu | gpu) echo "$SSL_WEIGHTING_DEVICE" ;;
    auto) if driver_answers; then echo gpu; else echo cpu; fi ;;
    *) fail "\`SSL_WEIGHTING_DEVICE\` must be cpu, gpu or unset." \
      "Received: SSL_WEIGHTING_DEVICE=$SSL_WEIGHTING_DEVICE" ;;
  esac
}

# An environment that was made for the GPU is not asked about again: some drivers take seconds.
driver_answers() {
  is_ready gpu || { command -v nvidia-smi && timeout 20 nvidia-smi -L; } >/dev/null 2>&1
}

is_ready() {
  [[ -x "$VENV/bin/python" && -s "$STAMP" && "$(<"$STAMP")" == "$(fingerprint "$1")" ]]
}

# pyvenv.cfg names the Python version, so no Python has to be started to know it.
fingerprint() {
  { echo "$ROOT $1" && cat "$ROOT/requirements-$1.lock" "$ROOT/setup.py" "$VENV/pyvenv.cfg"; } \
    2>/dev/null | sha256sum
}

make_environment() ( # in a subshell, so that the lock ends with it
  SECONDS=0
  python="$(find_python)" || exit 1
  wait_for_other_calls
  if is_ready "$1"; then exit 0; fi
  say "making .venv with $("$python" --version 2>&1) from requirements-$1.lock (some minutes)"
  clear_place || fail "cannot write to $ROOT: make it writable and call again"
  "$python" -m venv "$VENV" || fail "$python cannot make $VENV: see its message above"
  install_packages "$ROOT/requirements-$1.lock" || fail "installation stopped: see pip's message" \
    "above. It needs the network and about $(size_of "$1") of disk. Call again: it starts afresh"
  fingerprint "$1" >"$STAMP.new" && mv "$STAMP.new" "$STAMP" || fail "cannot write $STAMP"
  say "ready after $SECONDS s ($1)"
)

size_of() { if [[ "$1" == gpu ]]; then echo "10 GB"; else echo "2.5 GB"; fi; }

find_python() {
  local candidate
  for candidate in python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import ensurepip, sys, venv
sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  fail "Python 3.11, 3.12 or 3.13 with its venv module is needed." \
    "Received: $(python3 --version 2>&1 || true). Install one so that python3.11 (or 3.12, 3.13)" \
    "is on the PATH; Debian and Ubuntu keep the module in python3-venv"
}

# Two calls at once would write into one .venv: the second waits, then finds the work done.
wait_for_other_calls() {
  command -v flock >/dev/null || return 0
  exec 9<"$ROOT/setup.py"
  flock --nonblock 9 || {
    say "waiting for another call that is making .venv"
    flock 9
  }
}

clear_place() {
  local kept
  if [[ -e "$VENV" && ! -e "$MARK" ]]; then
    kept="$VENV.before-$(date +%Y%m%d-%H%M%S)"
    mv -- "$VENV" "$kept" || return
    say "the .venv found here was not made by this script: kept as $kept"
  fi
  rm -rf -- "$VENV" && mkdir -- "$VENV" && : >"$MARK"
}

# setuptools goes first, from the lock too: a package without a wheel is built with exactly that.
install_packages() {
  local pip=("$VENV/bin/python" -m pip install -qq --no-input --disable-pip-version-check --no-deps)
  local builders
  builders="$(grep -E '^(setuptools|wheel)==' "$1")" || return
  # shellcheck disable=SC2086 # two words on purpose
  "${pip[@]}" $builders &&
    "${pip[@]}" --no-build-isolation -r "$1" &&
    "${pip[@]}" --no-build-isolation -e "$ROOT"
}
