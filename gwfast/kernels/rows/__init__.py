"""Costs whose rows are computed when they are asked for: distances of points, paths in graphs."""
