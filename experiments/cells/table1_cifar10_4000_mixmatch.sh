#!/usr/bin/env bash
# Table:    Table 1
# Row:      MixMatch
# Column:   CIFAR-10, 4000 labels
# Paper:    6.24 ± 0.06 % test error (copied from earlier work; rule not stated)
# Time:     5 seeds x 23 h = 117 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Command:  python -m experiments.run_cell --cell=table1_cifar10_4000_mixmatch --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=4000 --algorithm=mixmatch --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table1_cifar10_4000_mixmatch --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=4000 \
  --algorithm=mixmatch --weighting=fixed "$@"
