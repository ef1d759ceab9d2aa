"""Memory of a large table does not grow with its plans."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, numpy as np, gwfast
x = np.random.default_rng(0).normal(size=(3000, 20, 2))
spaces = [np.linalg.norm(c[:, None] - c, axis=2) for c in x]
table = gwfast.pairwise_gw(spaces, quality="fast", time_limit=20, progress=False)
assert np.isfinite(table.values).sum() > 20_000
assert table.distance.shape == table.lower.shape == (3000, 3000)
unit = 1 if __import__("sys").platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
"""


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say how much memory a process took at most")
def test_3000_spaces_of_20_nodes_take_less_than_a_gigabyte():
    """The first twenty seconds of the 4.5 million pairs, with the whole table and both squares allocated."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=95, check=True)
    assert int(done.stdout) < 1e9
