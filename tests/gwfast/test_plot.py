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
    low, high = bar.get_xlim()
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


def lines(axis):
    return [line for line in axis.get_lines() if len(line.get_xdata()) == 2]


def clouds(n=300):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    order = rng.permutation(n)
    result = gwfast.sorted_gw(gwfast.PointCloud(X), gwfast.PointCloud(X[order]))
    return result, gwfast.PointCloud(X), gwfast.PointCloud(X[order]), X, order


def test_many_points_have_few_lines_and_the_title_says_so():
    result, first, second, *_ = clouds()
    axis = plot_matching(result, first, second).axes[0]
    assert len(lines(axis)) <= 180
    assert "lines for 60 of 300 points" in axis.get_title()
    assert sum(len(points.get_offsets()) for points in axis.collections) == 600  # but every point is there


def test_no_point_of_a_dense_plan_has_more_than_three_lines():
    C1, C2, _ = pair()
    result = gwfast.entropic_gw(C1, C2, epsilon=10.0)
    assert len(lines(plot_matching(result, gwfast.Dense(C1), gwfast.Dense(C2)).axes[0])) <= 15


def test_coordinates_are_drawn_as_they_are():
    result, first, second, X, order = clouds(20)
    axis = plot_matching(result, first, second, coordinates=(X, X[order])).axes[0]
    left, right = (np.asarray(points.get_offsets()) for points in axis.collections)
    scale = np.ptp(left[:, 0]) / np.ptp(X[:, 0])
    np.testing.assert_allclose(left - left.mean(0), scale * (X - X.mean(0)), atol=1e-12)
    np.testing.assert_allclose(right - right.mean(0), (left - left.mean(0))[order], atol=1e-12)
    flat = np.c_[X, np.zeros(20)]
    plot_matching(result, first, second, coordinates=(flat, None))


def test_labels_that_repeat_colour_and_others_are_written():
    result, first, second, _, order = clouds(20)
    kinds = np.array(["ring", "core"] * 10)
    axis = plot_matching(result, first, second, labels=(kinds, kinds[order])).axes[0]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["ring", "core"]
    mass = result.plan.toarray()
    same = 100 * mass[kinds[:, None] == kinds[order]].sum()
    assert f"{same:.0f} % of the mass keeps its label" in axis.get_title()
    names = [f"point {i}" for i in range(20)]
    axis = plot_matching(result, first, second, labels=(names, None)).axes[0]
    written = {text.get_text() for text in axis.texts}
    assert written <= set(names)
    assert len(written) > len(names) / 2
    assert axis.get_legend() is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            dict(coordinates=(np.ones((3, 2)), None)),
            r"coordinates\[0\]: expected shape \(5, 2\) or \(5, 3\), found \(3, 2\)",
        ),
        (dict(coordinates=(None, np.ones((4, 4)))), r"coordinates\[1\]: expected shape \(4, 2\) or \(4, 3\), found"),
        (dict(labels=(["a"], None)), r"labels\[0\]: expected 5 labels, one a point, found 1"),
    ],
)
def test_coordinates_and_labels_that_are_none(given, message):
    C1, C2, _ = pair()
    with pytest.raises(gwfast.InputError, match=message):
        plot_matching(gwfast.sorted_gw(C1, C2), gwfast.Dense(C1), gwfast.Dense(C2), **given)


def test_pictures_are_readable_on_a_narrow_page():
    result, first, second, *_ = clouds(20)
    figure = plot_matching(result, first, second)
    figure.canvas.draw()
    assert figure.get_size_inches()[0] <= 6.4
    texts = [text for axis in figure.axes for text in (axis.title, axis.xaxis.label, *axis.texts) if text.get_text()]
    texts += figure.axes[1].get_xticklabels()
    assert all(text.get_fontsize() >= 9 for text in texts)
    box = figure.bbox
    for text in texts:
        extent = text.get_window_extent()
        assert box.x0 - 1 <= extent.x0
        assert extent.x1 <= box.x1 + 1
