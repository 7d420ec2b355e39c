#!/usr/bin/env bash
# From a fresh clone to the report: environment, data, training of a profile, report.
#
#   ./run_all.sh [--profile=default] [--out=DIR]
#   ./run_all.sh --profile=paper [--only=GLOB] [--dry_run] [--smoke] [--out=DIR] [-- OPTION...]
#   ./run_all.sh --profile=study [--only=GLOB] [--dry_run] [--data_dir=DIR] [--out=DIR]
#
#   --profile   what to train: default (three toy sets, MNIST, Fashion-MNIST, its features by a
#               frozen net, and film reviews, with few labels), paper (every cell of the paper's
#               tables, experiments/cells/: years of one GPU) or study (days on a CPU, in as many
#               sittings as you like; its page is docs/study)
#   --only      paper: cells to run, such as 'table1_*_250_*'; study: FAMILY or FAMILY/METHOD, such
#               as 'cifar10_*' or '*/fixed_*'
#   --dry_run   paper: list the cells with estimated time and the paper's number, and stop; study: list
#               what is done and how long the rest may take, and stop
#   --data_dir  study: folder with the original files of CIFAR-10 and IMDb (default:
#               $SSL_WEIGHTING_DATA)
#   --smoke     paper: a few small steps of each cell on offline data, to see that it runs
#   --out       where runs and report go (default: results, beside this script)
#   -- OPTION   paper: options for every cell, such as --data_dir=DIR --seed=1
#
# Interrupted? Call it again: finished runs are skipped, the interrupted one resumes.
# Data sets are kept in $SSL_WEIGHTING_CACHE (default: ~/.cache/ssl_weighting).
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/experiments/environment.sh"

profile=default
data_dir="${SSL_WEIGHTING_DATA:-}" # for --profile=study
for_study=   # --data_dir as it was given
for_runs=()  # arguments that the profiles paper and study take beside --out
for_cells=() # options of every cell
out="$ROOT/results"
child=
interrupted=

main() {
  parse_arguments "$@"
  prepare_environment
  SSL_WEIGHTING_CACHE="$(realpath -m -- "${SSL_WEIGHTING_CACHE:-$HOME/.cache/ssl_weighting}")"
  export SSL_WEIGHTING_CACHE
  cd "$ROOT"
  trap 'stop_child 129' HUP
  trap 'stop_child 130' INT
  trap 'stop_child 143' TERM
  "profile_$profile"
}

profile_default() {
  local families=rotten_tomatoes jobs=0 # its texts and its BERT are packages of the lock files
  local features=
  if fetch fashion_mnist; then
    families+=,fashion_mnist features=,fashion_mnist_features # its backbone is a package, too
  else
    families+=,digits
    warn_about_digits
  fi
  if fetch mnist; then families+=,mnist; else warn_about_mnist; fi
  families+=$features,toy # short runs last: no core waits for another's long one
  export SSL_WEIGHTING_DOWNLOAD=0 # from here on the data stays what it is
  [[ "$DEVICE" == cpu ]] || jobs=1 # a process takes the whole memory of a GPU
  run_program experiments.run_profile --profile="$profile" --family="$families" --jobs="$jobs" \
    --galleries --out="$out" || give_up "training failed; the runs so far are in $out/runs"
  run_program experiments.make_report --runs="$out/runs" --out="$out" ||
    give_up "the report was not written"
  printf 'run_all: finished after %d min %d s. Report: %s\n' \
    $((SECONDS / 60)) $((SECONDS % 60)) "$out/report.html"
}

profile_paper() {
  run_program experiments.run_paper --out="$out" "${for_runs[@]}" -- "${for_cells[@]}" ||
    give_up "some cells failed (see above); the runs so far are in $out"
  [[ " ${for_runs[*]} " == *" --dry_run "* || " ${for_runs[*]} " == *" --smoke "* ]] ||
    run_program experiments.compare_upstream --out="$out" ||
    give_up "the comparison was not written"
}

# Both programs report what is missing; a family without data does not stop the others.
profile_study() {
  local status=0 diverged=3 jobs=0 # as experiments/run_study.py
  [[ "$DEVICE" == cpu ]] || jobs=1
  fetch fashion_mnist || true
  run_program experiments.run_study --data_dir="$data_dir" --out="$out" --jobs="$jobs" \
    "${for_runs[@]}" "${for_cells[@]}" || status=$?
  ((status == 0 || status == diverged)) ||
    give_up "the study stopped (see above); its runs so far are in $out/study"
  [[ " ${for_runs[*]} " == *" --dry_run "* ]] ||
    run_program experiments.make_study --runs="$out/study" --out="$ROOT/docs/study" ||
    give_up "the page of the study was not written"
  ((status == 0)) || give_up "some runs diverged (see above); the page was written without them"
}

parse_arguments() {
  while (($#)); do
    case "$1" in
      --profile=default | --profile=paper | --profile=study) profile="${1#--profile=}" ;;
      --profile=*) refuse "\`--profile\` must be one of: default, paper, study. Received: $1" ;;
      --out=?*) out="$(realpath -m -- "${1#--out=}")" ;;
      --only=?* | --dry_run | --smoke) for_runs+=("$1") ;;
      --data_dir=?*) for_study="$1" && data_dir="$(realpath -m -- "${1#--data_dir=}")" ;;
      --help | -h) help && exit 0 ;;
      --) for_cells=("${@:2}") && break ;;
      *) refuse "unknown argument. Received: $1. Known: --profile=, --out=DIR, --only=GLOB," \
        "--dry_run, --data_dir=DIR, --smoke, --help, --" ;;
    esac
    shift
  done
  [[ "$profile" == paper || " ${for_runs[*]} " != *" --smoke "* ]] ||
    refuse "--smoke needs --profile=paper"
  if [[ "$profile" == default ]] && ((${#for_runs[@]} + ${#for_cells[@]})); then
    set -- "${for_runs[@]}" "${for_cells[@]}"
    refuse "$* needs --profile=paper or --profile=study"
  fi
  [[ "$profile" == study || -z "$for_study" ]] ||
    refuse "$for_study needs --profile=study; cells of the paper take it after --"
}

help() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; }

refuse() {
  printf 'run_all: %s\n' "$*" >&2
  exit 2
}

give_up() {
  printf 'run_all: %s. Fix that and call again; run_all.sh continues from there.\n' "$*" >&2
  exit 1
}

# Returns 1 if no source has the data set; any other failure ends the script.
fetch() {
  local status=0
  run_program experiments.fetch_data --dataset="$1" --cache="$SSL_WEIGHTING_CACHE" || status=$?
  case "$status" in
    0) ;;
    3) return 1 ;;
    *) give_up "fetching $1 failed (exit code $status, see above)" ;;
  esac
}

warn_about_mnist() {
  echo "run_all: warning: MNIST is not available (see above). Its runs are skipped:" \
    "the report has no MNIST results." >&2
}

warn_about_digits() {
  echo "run_all: warning: Fashion-MNIST is not available (see above). The small digits of" \
    "scikit-learn take its place: the image results are not those of Fashion-MNIST." >&2
}

# A program runs in the background, or bash would handle a signal only after the program has ended.
# There it ignores Ctrl-C, so SIGTERM, on which it saves a checkpoint, is its one signal to stop.
run_program() {
  local status
  "$PYTHON" -m "$@" &
  child=$!
  [[ -z "$interrupted" ]] || kill -TERM "$child" 2>/dev/null || true
  while true; do
    status=0
    wait "$child" || status=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=
  if [[ -n "$interrupted" ]]; then
    echo "run_all: stopped. Call again to resume." >&2
    exit "$interrupted"
  fi
  return "$status"
}

stop_child() {
  interrupted=$1
  [[ -z "$child" ]] || kill -TERM "$child" 2>/dev/null || true
}

main "$@"
