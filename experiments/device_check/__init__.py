"""Whether a device computes what a CPU did: cases that are played again and compared."""
