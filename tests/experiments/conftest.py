"""The experiments are imported from the root of the repository."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def _root():
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))
