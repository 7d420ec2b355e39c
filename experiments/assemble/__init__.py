"""From options to the objects of Alg. 1."""
