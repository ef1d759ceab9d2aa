"""Solver and bounds of a batch of problems as torch operations on whole batches, for processors and GPUs.

No function loops over problems, and none reads a value back to the host.  Absent points have weight 0.
"""
