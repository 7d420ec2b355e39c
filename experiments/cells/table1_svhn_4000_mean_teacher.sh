#!/usr/bin/env bash
# Table:    Table 1
# Row:      Mean-Teacher
# Column:   SVHN, 4000 labels
# Paper:    3.39 ± 0.11 % test error (copied from earlier work; rule not stated)
# Time:     5 seeds x 15 h = 75 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Note:     SVHN without its extra set; the paper does not say which.
# Command:  python -m experiments.run_cell --cell=table1_svhn_4000_mean_teacher --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=4000 --flip=false --algorithm=mean_teacher --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table1_svhn_4000_mean_teacher --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=4000 \
  --flip=false --algorithm=mean_teacher --weighting=fixed "$@"
