"""What `python -m experiments.verify_influence` is made of: Eq. 6 against retraining."""
