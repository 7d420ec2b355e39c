#!/usr/bin/env bash
# Table:    Table 2
# Row:      UDA
# Column:   IMDb, 20 labels, 512 tokens
# Paper:    4.2 % test error (copied from UDA: the best of 20 checkpoints on the test set)
# Time:     1 seed = 169 h of GPU; an estimate, not measured: tokens of a step, at the rate that
#           NVIDIA reports for fine-tuning BERT-large in float32 on one V100 of 32 GB; with the
#           evaluations, without the Lambda-steps
# Note:     UDA's own recipe, for a TPU v3-32: 480 texts of 512 tokens a step through BERT-large are
#           more than one GPU holds, and texts train on one device. extra_imdb_512_uda_base is
#           smaller.
# Note:     UDA first tuned BERT-large on the reviews as a language model; this one is as published.
# Note:     Strong views are back-translations with --back_translation_dir=DIR; without it words are
#           replaced by TF-IDF, a DEVIATION in log, result and comparison.
# Command:  python -m experiments.run_cell --cell=table2_512_uda --seeds=1 --dataset=imdb --num_labeled=20 --max_len=512 --bert=bert-large-uncased --algorithm=uda --weighting=fixed --labeled_batch=32 --unlabeled_ratio=7 --temperature=0.85

exec "$(dirname -- "${BASH_SOURCE[0]}")/../python.sh" -m experiments.run_cell \
  --cell=table2_512_uda --seeds=1 --dataset=imdb --num_labeled=20 --max_len=512 \
  --bert=bert-large-uncased --algorithm=uda --weighting=fixed --labeled_batch=32 \
  --unlabeled_ratio=7 --temperature=0.85 "$@"
