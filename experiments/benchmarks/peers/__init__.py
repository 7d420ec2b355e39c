"""What suite influence is compared with: other libraries' ways to per-example gradients.

Every module here is one worker's work (see `worker`). It runs in the peers' own environment, so it
imports numpy and its own library, never TensorFlow; `ours` is the exception: the same work by this
repository, in a process of the same kind.
"""
