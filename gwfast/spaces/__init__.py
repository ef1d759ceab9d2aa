"""Spaces: a cost between points, weights, and what each kind answers without an n x n array."""
