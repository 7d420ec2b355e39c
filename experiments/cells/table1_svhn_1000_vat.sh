#!/usr/bin/env bash
# Table:    Table 1
# Row:      VAT
# Column:   SVHN, 1000 labels
# Paper:    5.98 ± 0.21 % test error (copied from earlier work; rule not stated)
# Time:     5 seeds x 26 h = 128 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Note:     SVHN without its extra set; the paper does not say which.
# Command:  python -m experiments.run_cell --cell=table1_svhn_1000_vat --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=1000 --flip=false --algorithm=vat --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table1_svhn_1000_vat --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=1000 \
  --flip=false --algorithm=vat --weighting=fixed "$@"
