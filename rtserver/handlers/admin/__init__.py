"""The live view of a cluster, and what an administrator may do to it."""
