"""The ways to compute the dot products g . v of a batch; one file each."""
