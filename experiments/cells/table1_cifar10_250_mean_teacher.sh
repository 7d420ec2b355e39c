#!/usr/bin/env bash
# Table:    Table 1
# Row:      Mean-Teacher
# Column:   CIFAR-10, 250 labels
# Paper:    47.32 ± 4.71 % test error (copied from earlier work; rule not stated)
# Time:     5 seeds x 15 h = 75 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Command:  python -m experiments.run_cell --cell=table1_cifar10_250_mean_teacher --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=250 --algorithm=mean_teacher --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table1_cifar10_250_mean_teacher --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=250 \
  --algorithm=mean_teacher --weighting=fixed "$@"
