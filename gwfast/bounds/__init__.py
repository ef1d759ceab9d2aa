"""Proved lower bounds: Problem -> Bound, one family of theorems a file."""
