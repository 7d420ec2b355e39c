"""What Eq. 6 speaks of: the last layer in closed form, or any part of the network."""
