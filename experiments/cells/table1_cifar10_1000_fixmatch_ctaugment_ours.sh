#!/usr/bin/env bash
# Table:    Table 1
# Row:      Ours (FixMatch, CTA)
# Column:   CIFAR-10, 1000 labels
# Paper:    4.68 ± 0.14 % test error (median of the last 20 evaluations, mean of 5 runs)
# Time:     5 seeds x 96 h = 480 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Command:  python -m experiments.run_cell --cell=table1_cifar10_1000_fixmatch_ctaugment_ours --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=1000 --algorithm=fixmatch --strong_augment=ctaugment --weighting=per_example

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table1_cifar10_1000_fixmatch_ctaugment_ours --seeds=1,2,3,4,5 --dataset=cifar10 \
  --num_labeled=1000 --algorithm=fixmatch --strong_augment=ctaugment --weighting=per_example "$@"
