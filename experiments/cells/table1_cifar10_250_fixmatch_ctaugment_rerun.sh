#!/usr/bin/env bash
# Table:    Table 1
# Row:      FixMatch* (CTA)
# Column:   CIFAR-10, 250 labels
# Paper:    5.23 ± 0.28 % test error (median of the last 20 evaluations, mean of 5 runs)
# Time:     5 seeds x 96 h = 480 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Runs:     shared with table1_cifar10_250_fixmatch_ctaugment: the same options
# Command:  python -m experiments.run_cell --cell=table1_cifar10_250_fixmatch_ctaugment_rerun --runs=table1_cifar10_250_fixmatch_ctaugment --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=250 --algorithm=fixmatch --strong_augment=ctaugment --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table1_cifar10_250_fixmatch_ctaugment_rerun --runs=table1_cifar10_250_fixmatch_ctaugment \
  --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=250 --algorithm=fixmatch \
  --strong_augment=ctaugment --weighting=fixed "$@"
