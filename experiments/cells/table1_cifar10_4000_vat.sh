#!/usr/bin/env bash
# Table:    Table 1
# Row:      VAT
# Column:   CIFAR-10, 4000 labels
# Paper:    11.05 ± 0.31 % test error (copied from earlier work; rule not stated)
# Time:     5 seeds x 26 h = 128 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Command:  python -m experiments.run_cell --cell=table1_cifar10_4000_vat --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=4000 --algorithm=vat --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table1_cifar10_4000_vat --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=4000 \
  --algorithm=vat --weighting=fixed "$@"
