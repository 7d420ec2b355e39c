"""From plain settings to Alg. 1 at work: the way that the programs and the estimator share."""
