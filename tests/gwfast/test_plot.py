"""Pictures of a plan and its interval."""

import numpy as np
import pytest

import gwfast
from strategies import cost

plt = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is an extra")

from gwfast.plot import plot_matching  # noqa: E402


@pytest.fixture(autouse=True)
def quiet():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def pair():
    rng = np.random.default_rng(0)
    return cost(rng, 5, "cloud"), cost(rng, 4, "cloud"), rng.random((5, 4))


@pytest.mark.parametrize("sign", [-9, 0, 9])
def test_the_whole_interval_is_in_the_picture(sign):
    C1, C2, M = pair()
    result = gwfast.sorted_gw(C1, C2, M=sign * M, alpha=0.1)
    bar = plot_matching(result, gwfast.Dense(C1), gwfast.Dense(C2)).axes[1]
    low, high = bar.get_ylim()
    assert low <= min(0, result.lower)
    assert max(0, result.upper) <= high


def test_tensors_on_the_tape_can_be_drawn():
    torch = pytest.importorskip("torch", reason="torch is an extra")
    C1, C2 = (torch.tensor(C, requires_grad=True) for C in pair()[:2])
    plot_matching(gwfast.sorted_gw(C1, C2), gwfast.Dense(C1), gwfast.Dense(C2))


def test_what_is_no_pair_of_spaces_of_the_result():
    C1, C2, _ = pair()
    result = gwfast.sorted_gw(C1, C2)
    with pytest.raises(gwfast.InputError, match="first: expected a Space, found ndarray; wrap"):
        plot_matching(result, C1, gwfast.Dense(C2))
    with pytest.raises(gwfast.InputError, match=r"expected \(5, 4\) points, as in the result, found \(4, 5\)"):
        plot_matching(result, gwfast.Dense(C2), gwfast.Dense(C1))


def test_the_proved_value_is_readable_over_the_other_bounds():
    C1, C2, _ = pair()
    bar = plot_matching(gwfast.sorted_gw(C1, C2), gwfast.Dense(C1), gwfast.Dense(C2)).axes[1]
    label = next(text for text in bar.texts if text.get_text().strip().startswith("proved"))
    assert label.get_bbox_patch() is not None
    assert label.get_bbox_patch().get_facecolor()[:3] == (1, 1, 1)
