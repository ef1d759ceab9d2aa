"""What float64 holds."""

import numpy as np

EPS = float(np.finfo(np.float64).eps)
TINY = 2.0**-960  # above all that a sum over points can lose where products leave float64 at its lower end
