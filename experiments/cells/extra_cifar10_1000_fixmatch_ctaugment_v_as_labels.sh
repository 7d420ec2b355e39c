#!/usr/bin/env bash
# Table:    Extra
# Row:      V as labels (FixMatch, CTA)
# Column:   CIFAR-10, 1000 labels
# Paper:    not in the paper (test error, %)
# Time:     5 seeds x 96 h = 480 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Note:     Not in the paper: the control that any gain from V must beat.
# Command:  python -m experiments.run_cell --cell=extra_cifar10_1000_fixmatch_ctaugment_v_as_labels --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=1000 --algorithm=fixmatch --strong_augment=ctaugment --weighting=fixed --validation_as_labels=true

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=extra_cifar10_1000_fixmatch_ctaugment_v_as_labels --seeds=1,2,3,4,5 --dataset=cifar10 \
  --num_labeled=1000 --algorithm=fixmatch --strong_augment=ctaugment --weighting=fixed \
  --validation_as_labels=true "$@"
