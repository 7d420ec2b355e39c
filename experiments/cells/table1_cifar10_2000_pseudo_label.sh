#!/usr/bin/env bash
# Table:    Table 1
# Row:      Pseudo-Label
# Column:   CIFAR-10, 2000 labels
# Paper:    21.96 ± 0.42 % test error (copied from earlier work; rule not stated)
# Time:     5 seeds x 13 h = 64 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Command:  python -m experiments.run_cell --cell=table1_cifar10_2000_pseudo_label --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=2000 --algorithm=pseudo_label --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table1_cifar10_2000_pseudo_label --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=2000 \
  --algorithm=pseudo_label --weighting=fixed "$@"
