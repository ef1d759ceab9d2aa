"""The docs keep what the code promises."""

import re
from pathlib import Path

import numpy as np
import pytest

import gwfast

ROOT = Path(__file__).parent.parent
THEORY = "\n".join(page.read_text() for page in (ROOT / "docs" / "theory").glob("*.md"))
LABELS = sorted(
    {
        match
        for path in (ROOT / "gwfast").rglob("*.py")
        for match in re.findall(r'^[A-Z_]+ = "([a-z]+(?:-[a-z]+)*)"$', path.read_text(), re.MULTILINE)
    }
)


def test_labels_were_found():
    assert {"first-lower-bound", "reformulation", "cone", "feasible-plan"} <= set(LABELS)


@pytest.mark.parametrize("label", LABELS)
def test_every_label_has_its_place_in_the_theory(label):
    assert f"({label})=" in THEORY


def test_every_bound_that_comes_out_has_a_label():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    first, second = (gwfast.PointCloud(z, "sqeuclidean") for z in (x, y))
    result = gwfast.exact_gw(first, second, effort="prove", time_limit=5)
    assert {b.theorem for b in result.certificate.bounds} <= set(LABELS)
