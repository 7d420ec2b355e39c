"""Text sets: readers, tokens, augmented copies and batches."""
