"""The sets D, U and V of Eq. 2 and the test set: where they come from and how batches are drawn."""
