"""Pictures of reports: narrow, in letters that can be read, named in words, with a spread where there are seeds."""

import pytest
from matplotlib.text import Text

from gwfast_llm.config import PRESETS, WEIGHTS
from gwfast_llm.reports import plots
from gwfast_llm.reports.scores import Contender, Score
from gwfast_llm.reports.words import OBJECTIVES, TASKS, TERMS, objective_in_words

NAMES = ("sft", "infigfusion", "path", "hellinger=10")


def metrics(seeds=2):
    rows = []
    for name in NAMES:
        for seed in range(seeds):
            for step in range(0, 50, 5):
                row = {"objective": name, "seed": seed, "step": step, "loss": 3.0, "sft": 3.0 - step / 50 + seed / 9}
                terms = {"infigfusion": ("uld", "gld"), "path": ("path",), "hellinger=10": ("hellinger",)}.get(name, ())
                rows.append(row | dict.fromkeys(terms, 2.0 - step / 40 + seed / 9))
                rows.append({"objective": name, "seed": seed, "step": step, "gw_lower": 0.1, "gw_upper": 0.2})
    return rows


def contenders(runs=2):
    def scores(value):
        kinds = (("M", "excess"), ("N", "excess"), ("A", "exact"), ("L", "bytes"))
        return [[Score(task, kind, value + k / 10) for task, kind in kinds] for k in range(runs)]

    before = Contender("pivot before", "", scores(0.1)[:1], trained=False)
    return [before, *(Contender(name, "", scores(0.1 * k), True) for k, name in enumerate(NAMES))]


PICTURES = {
    "losses": lambda path: plots.plot_losses(path, metrics(), NAMES),
    "interval": lambda path: plots.plot_interval(path, metrics(), NAMES),
    "scores": lambda path: plots.plot_scores(path, contenders(), TASKS),
}


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws a picture and gives its figure, once more written by the plain function."""
    import matplotlib.pyplot as plt

    kept, save = [], plots._save

    def keep(figure, path):
        kept.append(figure)
        monkeypatch.setattr(plt, "close", lambda figure: None)
        save(figure, path)

    monkeypatch.setattr(plots, "_save", keep)

    def draw(name):
        PICTURES[name](tmp_path / "x.png")
        return kept[-1]

    yield draw
    monkeypatch.undo()
    plt.close("all")


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_can_be_read_on_a_telephone(drawn, name):
    figure = drawn(name)
    assert figure.get_size_inches()[0] <= 6.4
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text().strip()}
    assert min(sizes) >= 9
    box = figure.get_tightbbox()  # in inches
    assert box.x0 > -0.02
    assert box.x1 < figure.get_size_inches()[0] + 0.02
    for axis in figure.axes:
        assert axis.get_title()
        assert len(axis.get_xticks()) <= 12


@pytest.mark.parametrize("name", PICTURES)
def test_legends_are_in_words(drawn, name):
    internal = {*PRESETS, *WEIGHTS, *NAMES} - set(OBJECTIVES.values()) - set(TERMS.values())
    legends = [axis.get_legend() for axis in drawn(name).axes if axis.get_legend()]
    labels = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert labels
    assert not internal & {word for label in labels for word in label.split(": ")}
    assert any(objective_in_words("hellinger=10") in label for label in labels)


def test_seeds_have_a_spread_and_one_seed_says_that_it_has_none(tmp_path, drawn, monkeypatch):
    bands = [len(axis.collections) for axis in drawn("losses").axes]
    assert bands == [len(NAMES), 4]
    title = drawn("scores").axes[-1].get_legend().get_title().get_text()
    assert "standard deviation over 2 seeds" in title
    monkeypatch.setitem(PICTURES, "scores", lambda path: plots.plot_scores(path, contenders(1), TASKS))
    assert "one seed: no error bars" in drawn("scores").axes[-1].get_legend().get_title().get_text()


def test_colours_and_marks_are_as_many_as_each_other():
    assert len(set(plots.COLOURS)) == len(set(plots.MARKS)) == 8
