#!/usr/bin/env bash
# Table:    Sec. 4.4
# Row:      serial 18.17 s, ours 0.94 s; exact 0.455 s, identity 0.399 s; Neumann 4.6 x exact
# Column:   batches 64 / 256 / 320, WRN-28-2
# Paper:    serial 18.17 s, ours 0.94 s; exact 0.455 s, identity 0.399 s; Neumann 4.6 x exact (mean
#           of 20 iterations on a 16 GB GPU)
# Time:     about 1 h; an estimate, not measured: from the paper's 18 s for one serial call
# Command:  python -m experiments.benchmark --suite=influence --labeled_batch=64 --unlabeled_batch=256 --validation_batch=320 --repetitions=20

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.benchmark \
  --suite=influence --labeled_batch=64 --unlabeled_batch=256 --validation_batch=320 \
  --repetitions=20 "$@"
