#!/usr/bin/env bash
# Table:    Fig. 4 (left)
# Row:      per-example weights
# Column:   CIFAR-10, 4000 labels
# Paper:    a curve without a number (test error, %)
# Time:     3 seeds x 27 h = 81 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Runs:     shared with table1_cifar10_4000_uda_ours: the same options
# Command:  python -m experiments.run_cell --cell=fig4_left_4000_per_example --runs=table1_cifar10_4000_uda_ours --seeds=1,2,3 --dataset=cifar10 --num_labeled=4000 --algorithm=uda --uda_version=2019 --weighting=per_example

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=fig4_left_4000_per_example --runs=table1_cifar10_4000_uda_ours --seeds=1,2,3 \
  --dataset=cifar10 --num_labeled=4000 --algorithm=uda --uda_version=2019 --weighting=per_example \
  "$@"
