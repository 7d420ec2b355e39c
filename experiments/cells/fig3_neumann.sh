#!/usr/bin/env bash
# Table:    Fig. 3
# Row:      Neumann series (Lorraine et al.), last group and classifier
# Column:   CIFAR-10, 4000 labels
# Paper:    4.85 % test error (rule not stated, from the text of Sec. 4.3)
# Time:     5 seeds x 27 h = 134 h of GPU; an estimate, not measured: steps x images of a step, at
#           the rate of a FixMatch run that its user reports to take 4 days on one RTX 2080 Ti;
#           without the Lambda-steps
# Note:     The paper does not say how many labels: we take the 4,000 of Table 3.
# Note:     The paper gives no number of terms and no parameters of the identity.
# Command:  python -m experiments.run_cell --cell=fig3_neumann --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=4000 --algorithm=uda --uda_version=2019 --weighting=per_example --inverse_hessian=neumann '--influence_params=group_3|last_norm|head'

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=fig3_neumann --seeds=1,2,3,4,5 --dataset=cifar10 --num_labeled=4000 --algorithm=uda \
  --uda_version=2019 --weighting=per_example --inverse_hessian=neumann \
  '--influence_params=group_3|last_norm|head' "$@"
