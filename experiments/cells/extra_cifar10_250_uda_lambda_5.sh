#!/usr/bin/env bash
# Table:    Extra
# Row:      UDA, λ = 5
# Column:   CIFAR-10, 250 labels
# Paper:    not in the paper (test error, %)
# Time:     5 seeds x 27 h = 134 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Note:     Not in the paper: Ours starts at 5 with 250 labels. Beside this it differs in learning
#           alone.
# Command:  python -m experiments.run_cell --cell=extra_cifar10_250_uda_lambda_5 --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=250 --algorithm=uda --uda_version=2019 --weighting=fixed --lambda_init=5

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=extra_cifar10_250_uda_lambda_5 --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=250 \
  --algorithm=uda --uda_version=2019 --weighting=fixed --lambda_init=5 "$@"
