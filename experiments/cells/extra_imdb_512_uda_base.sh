#!/usr/bin/env bash
# Table:    Extra
# Row:      UDA (BERT-base)
# Column:   IMDb, 20 labels, 512 tokens
# Paper:    not in the paper (test error, %)
# Time:     3 seeds x 8.7 h = 26 h of GPU; an estimate, not measured: tokens of a step, at the rate
#           that NVIDIA reports for fine-tuning BERT-large in float32 on one V100 of 32 GB; with the
#           evaluations, without the Lambda-steps
# Note:     Not in the paper: the recipe at 128 tokens with longer texts.
# Note:     Strong views are back-translations with --back_translation_dir=DIR; without it words are
#           replaced by TF-IDF, a DEVIATION in log, result and comparison.
# Command:  python -m experiments.run_cell --cell=extra_imdb_512_uda_base --seeds=1,2,3 --dataset=imdb --num_labeled=20 --max_len=512 --bert=bert-base-uncased --algorithm=uda --weighting=fixed

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=extra_imdb_512_uda_base --seeds=1,2,3 --dataset=imdb --num_labeled=20 --max_len=512 \
  --bert=bert-base-uncased --algorithm=uda --weighting=fixed "$@"
