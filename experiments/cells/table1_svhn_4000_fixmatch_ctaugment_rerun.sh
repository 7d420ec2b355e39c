#!/usr/bin/env bash
# Table:    Table 1
# Row:      FixMatch* (CTA)
# Column:   SVHN, 4000 labels
# Paper:    2.17 ± 0.08 % test error (median of the last 20 evaluations, mean of 5 runs)
# Time:     5 seeds x 96 h = 480 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Note:     SVHN without its extra set; the paper does not say which.
# Runs:     shared with table1_svhn_4000_fixmatch_ctaugment: the same options
# Command:  python -m experiments.run_cell --cell=table1_svhn_4000_fixmatch_ctaugment_rerun --runs=table1_svhn_4000_fixmatch_ctaugment --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=4000 --flip=false --algorithm=fixmatch --strong_augment=ctaugment --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table1_svhn_4000_fixmatch_ctaugment_rerun --runs=table1_svhn_4000_fixmatch_ctaugment \
  --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=4000 --flip=false --algorithm=fixmatch \
  --strong_augment=ctaugment --weighting=fixed "$@"
