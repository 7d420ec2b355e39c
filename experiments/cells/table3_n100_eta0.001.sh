#!/usr/bin/env bash
# Table:    Table 3
# Row:      N = 100, η = 0.001
# Column:   CIFAR-10, 4000 labels
# Paper:    4.10 % validation error (rule not stated)
# Time:     5 seeds x 27 h = 134 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Command:  python -m experiments.run_cell --cell=table3_n100_eta0.001 --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=4000 --algorithm=uda --uda_version=2019 --weighting=per_example --inner_steps=100 --lambda_lr=0.001

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table3_n100_eta0.001 --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=4000 \
  --algorithm=uda --uda_version=2019 --weighting=per_example --inner_steps=100 --lambda_lr=0.001 \
  "$@"
