#!/usr/bin/env bash
# Table:    Table 1
# Row:      UDA
# Column:   SVHN, 250 labels
# Paper:    2.76 ± 0.17 % test error (copied from UDA: tested once, at the last checkpoint)
# Time:     5 seeds x 27 h = 134 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Note:     SVHN without its extra set; the paper does not say which.
# Command:  python -m experiments.run_cell --cell=table1_svhn_250_uda --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=250 --flip=false --algorithm=uda --uda_version=2019 --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table1_svhn_250_uda --seeds=1,2,3,4,5 --dataset=svhn_cropped --num_labeled=250 \
  --flip=false --algorithm=uda --uda_version=2019 --weighting=fixed "$@"
