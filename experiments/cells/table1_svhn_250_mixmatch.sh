#!/usr/bin/env bash
# Table:    Table 1
# Row:      MixMatch
# Column:   SVHN, 250 labels
# Paper:    3.78 ± 0.26 % test error (copied from earlier work; rule not stated)
# Time:     5 seeds x 23 h = 117 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Note:     SVHN without its extra set; the paper does not say which.
# Command:  python -m experiments.run_cell --cell=table1_svhn_250_mixmatch --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=250 --flip=false --algorithm=mixmatch --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table1_svhn_250_mixmatch --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=250 \
  --flip=false --algorithm=mixmatch --weighting=fixed "$@"
