#!/usr/bin/env bash
# Table:    Extra
# Row:      FixMatch (RandAugment)
# Column:   SVHN, 4000 labels
# Paper:    not in the paper (test error, %)
# Time:     5 seeds x 96 h = 480 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Note:     Not in the paper: FixMatch's other augmentation.
# Note:     SVHN without its extra set; the paper does not say which.
# Command:  python -m experiments.run_cell --cell=extra_svhn_4000_fixmatch_randaugment --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=4000 --flip=false --algorithm=fixmatch --strong_augment=randaugment --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=extra_svhn_4000_fixmatch_randaugment --seeds=1,2,3,4,5 --dataset=svhn_cropped \
  --num_labeled=4000 --flip=false --algorithm=fixmatch --strong_augment=randaugment \
  --weighting=fixed "$@"
