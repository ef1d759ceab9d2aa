"""Linear transport between large sets of points: a kd tree, searches that know of prices, and an auction."""
