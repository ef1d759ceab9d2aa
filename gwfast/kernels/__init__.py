"""Compiled kernels on host arrays, named by what they do; nothing here is trusted by a proof."""
