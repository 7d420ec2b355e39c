"""What runs Alg. 1 inside the `fit` of Keras, for models and data of one's own."""
