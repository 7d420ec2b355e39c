#!/usr/bin/env bash
# Table:    Table 1
# Row:      Pseudo-Label
# Column:   SVHN, 4000 labels
# Paper:    5.71 ± 0.07 % test error (copied from earlier work; rule not stated)
# Time:     5 seeds x 13 h = 64 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Note:     SVHN without its extra set; the paper does not say which.
# Command:  python -m experiments.run_cell --cell=table1_svhn_4000_pseudo_label --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=4000 --flip=false --algorithm=pseudo_label --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table1_svhn_4000_pseudo_label --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=4000 \
  --flip=false --algorithm=pseudo_label --weighting=fixed "$@"
