"""The docs keep what the code promises."""

import contextlib
import doctest
import functools
import importlib.util
import io
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import gwfast
from gwfast.command.options import parser

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not {"_build", "gallery"} & set(path.relative_to(DOCS).parts))
THEOREMS = sorted(path for path in (DOCS / "theory").glob("*.md") if path.stem not in ("index", "rounding"))
THEORY = "\n".join(page.read_text() for page in (DOCS / "theory").glob("*.md"))
LABELS = sorted(
    {
        match
        for path in (ROOT / "gwfast").rglob("*.py")
        for match in re.findall(r'^[A-Z_]+ = "([a-z]+(?:-[a-z]+)*)"$', path.read_text(), re.MULTILINE)
    }
)
TESTS = {
    (path.stem, name)
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
}
SHOWS = {
    "text",
    "toctree",
    "raw",
    "image",
    "include",
    "literalinclude",
    "bibliography",
    "eval-rst",
    "layers",
    "methods",
}
SHOWS |= {"config-fields"}


def fences(page):
    """Kind and body of every fenced block."""
    return re.findall(r"^```\{?([\w-]*)\}?[^\n]*\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_labels_were_found():
    assert {"first-lower-bound", "reformulation", "cone", "feasible-plan"} <= set(LABELS)


@pytest.mark.parametrize("label", LABELS)
def test_every_label_has_its_place_in_the_theory(label):
    assert f"({label})=\n# " in THEORY


def test_every_bound_that_comes_out_has_a_label():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    first, second = (gwfast.PointCloud(z, "sqeuclidean") for z in (x, y))
    result = gwfast.exact_gw(first, second, effort="prove", time_limit=5)
    assert {b.theorem for b in result.certificate.bounds} <= set(LABELS)


@pytest.mark.parametrize("page", THEOREMS, ids=lambda page: page.stem)
def test_every_theorem_page_is_whole(page):
    text = page.read_text()
    for part in ("**Statement", "**Proof", "| test |", "| known |"):
        assert part in text, part
    if "bound" in text and page.stem not in ("anova", "hermitian", "skew", "blind"):
        for part in ("**Tight**", "**Useless**" if "**Useless**" in text else "**useless**"):
            assert part in text, part


def test_the_tests_that_pages_name_exist():
    named = re.findall(r"`(test_\w+)::(test_\w+)`", THEORY)
    assert len(named) > 40
    assert [pair for pair in named if pair not in TESTS] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_code_block_runs(page, helpers):
    """Examples are run, shell lines are looked up, everything else is shown and holds no example."""
    names = {name: getattr(helpers, name) for name in helpers.__all__} | {"np": np, "gwfast": gwfast}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for kind, body in fences(page):
        assert kind in SHOWS | {"console", "doctest", "python"}, f"a block of kind {kind!r} is run by nothing"
        if kind == "console":
            check_commands(body)
        elif kind == "python":  # shown, since it needs what a page cannot have
            compile(body, str(page), "exec")
        elif kind == "doctest":
            example = doctest.DocTestParser().get_doctest(body, names, page.stem, str(page), 0)
            assert example.examples
            runner.run(example, clear_globs=False)
            names = example.globs
        else:
            assert ">>>" not in body
    assert runner.summarize().failed == 0


def test_the_printed_result_reads_as_the_start_page_says():
    page = (DOCS / "start.md").read_text()
    shown = next(body for kind, body in fences(DOCS / "start.md") if kind == "text")
    result = gwfast.exact_gw(np.ones((3, 3)) - np.eye(3), np.zeros((2, 2)), effort="rows")
    words = [line.split("  ")[1].strip() for line in shown.splitlines()[1:]]
    printed = [line.split("  ")[1].strip() for line in str(result).splitlines()[1:]]
    assert words == printed[: len(words)]
    rows = {line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")}
    assert {"value", "distance", "interval", "gap", "lower from", "marginals", "stopped"} <= rows


def check_commands(body):
    """Modules and files that shell lines name exist; their flags are known."""
    for line in body.replace("\\\n", " ").splitlines():
        assert line.startswith("$ "), line
        for module in re.findall(r"-m (gwfast\w*(?:\.\w+)?)", line):
            assert importlib.util.find_spec(module), module
        for file in re.findall(r"(?:--config|--config_file) (\S+)", line):
            assert (ROOT / file).is_file(), file
        command = re.search(r"-m gwfast(?:_llm\.(\w+))?( .*|$)", line)
        if command:
            flags = [word for word in command[2].split() if word.startswith("--")]
            assert [flag for flag in flags if flag not in known_flags(command[1])] == []


@functools.cache
def known_flags(command):
    """Flags of a command of gwfast_llm, or of gwfast itself."""
    if command is None:
        text = parser().format_help()
    else:
        module = importlib.import_module(f"gwfast_llm.{command}")
        with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
            module.main(["--help"])
        text = shown.getvalue()
    return set(re.findall(r"--[\w.-]+", text))


def test_a_flag_that_no_command_has_is_found():
    check_commands("$ python -m gwfast karate florentine --rtol 0.5")
    with pytest.raises(AssertionError):
        check_commands("$ python -m gwfast karate florentine --tolerance 0.5")
    with pytest.raises(AssertionError):
        check_commands("$ python -m gwfast_llm.fuse --size smoke \\\n    --train.step 3")


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda file: file.stem)
def test_configurations_that_the_tutorial_shows_are_valid(file):
    from gwfast_llm.command_line.parser import config_parser, parse

    _, config = parse(config_parser("fuse", ""), ["--config", str(file)])
    assert config is not None
    assert config.sources


def test_every_configuration_field_is_described(monkeypatch):
    from gwfast_llm import config

    names = runpy.run_path(str(DOCS / "_ext" / "config_fields.py"))
    for cls in (config.ModelConfig, config.SourceConfig, config.DataConfig, config.ObjectiveConfig):
        assert {f for fields, _, _ in names["described"](cls) for f in fields} == set(cls.__dataclass_fields__)
    for cls in (config.TrainConfig, config.LoraConfig):
        assert {f for fields, _, _ in names["described"](cls) for f in fields} == set(cls.__dataclass_fields__)


def test_broken_links_are_found(tmp_path):
    problems = runpy.run_path(str(DOCS / "check_links.py"))["problems"]
    (tmp_path / "a.html").write_text('<p id="here"><a href="b.html#there">b</a><a href="#here">a</a></p>')
    (tmp_path / "b.html").write_text('<p id="there"><a href="https://example.org/">away</a></p>')
    assert problems(tmp_path) == []
    (tmp_path / "b.html").write_text('<a href="c.html">c</a><script src="https://example.org/x.js"></script>')
    assert [line.split(": ", 1)[1] for line in problems(tmp_path)] == [
        "b.html#there has no such place on its page",
        "c.html leads nowhere",
        "loads https://example.org/x.js from elsewhere",
    ]
    assert problems(tmp_path / "empty")


@pytest.fixture
def helpers(monkeypatch):
    """The names that the examples of the theory pages share."""
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    yield importlib.import_module("docs_setup")
    sys.modules.pop("docs_setup", None)


def test_the_blind_pair_is_blind(helpers):
    rook, shrikhande = helpers.regular_pair()
    n, eye = 16, np.eye(16)
    # the array of the page: feasible for the cone, with objective 0
    relations = [(eye, eye, 1), (rook, shrikhande, 6), (1 - eye - rook, 1 - eye - shrikhande, 9)]
    Y = sum(np.einsum("ij,kl->ikjl", A, B) / v for A, B, v in relations) / n**3
    assert np.allclose(Y.sum(axis=3), 1 / n**3)
    assert np.allclose(Y.sum(axis=2), 1 / n**3)
    assert np.isclose(Y.sum(), 1)
    assert np.linalg.eigvalsh(Y.reshape(n * n, n * n)).min() > -1e-12
    assert np.sum(Y * (rook[:, None, :, None] - shrikhande[None, :, None, :]) ** 2) == 0
    certificate = gwfast.lower_bound(rook, shrikhande, effort="dual", time_limit=1)
    assert certificate.lower < 1e-9
    assert gwfast.exact_gw(rook, shrikhande).value > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_gw_is_lipschitz_in_the_costs(helpers, seed):
    rng = np.random.default_rng(seed)
    C1, C2, D1, D2 = (rng.normal(size=(k, k)) for k in (5, 4, 5, 4))
    p, q = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(4))
    T = np.outer(p, q)
    T[:2, :2] += 0.5 * T[:2, :2].min() * np.array([[1, -1], [-1, 1]])
    error = np.sqrt(p @ (C1 - D1) ** 2 @ p) + np.sqrt(q @ (C2 - D2) ** 2 @ q)
    gap = np.sqrt(helpers.loss(C1, C2, T)) - np.sqrt(helpers.loss(D1, D2, T))
    assert abs(gap) <= error + 1e-12
