#!/usr/bin/env bash
# Table:    Extra
# Row:      V as labels (UDA)
# Column:   IMDb, 20 labels, 128 tokens
# Paper:    not in the paper (test error, %)
# Time:     3 seeds x 2.0 h = 6.0 h of GPU; an estimate, not measured: tokens of a step, at the rate
#           that NVIDIA reports for fine-tuning BERT-large in float32 on one V100 of 32 GB; with the
#           evaluations, without the Lambda-steps
# Note:     Not in the paper: the control that any gain from V must beat.
# Note:     Strong views are back-translations with --back_translation_dir=DIR; without it words are
#           replaced by TF-IDF, a DEVIATION in log, result and comparison.
# Command:  python -m experiments.run_cell --cell=extra_imdb_128_uda_v_as_labels --seeds=1,2,3 --dataset=imdb --num_labeled=20 --max_len=128 --bert=bert-base-uncased --algorithm=uda --weighting=fixed --validation_as_labels=true

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=extra_imdb_128_uda_v_as_labels --seeds=1,2,3 --dataset=imdb --num_labeled=20 \
  --max_len=128 --bert=bert-base-uncased --algorithm=uda --weighting=fixed \
  --validation_as_labels=true "$@"
