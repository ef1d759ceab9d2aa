"""What a stranger reads first: the README's code runs, its calls agree with POT, pages stay readable."""

import re
import warnings
from pathlib import Path

import numpy as np
import ot
import pytest

import gwfast

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
THEORY = ROOT / "docs" / "theory"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(THEORY.glob("*.md"))]
FENCE = re.compile(r"^```\{?([\w-]*)\}?[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LONGEST_CODE, LONGEST_PARAGRAPH = 88, {README: 400}
# proofs are read line by line, with the formulas inside
LONGEST_PARAGRAPH |= {page: 800 if page.parent == THEORY else 700 for page in PAGES if page != README}
FORBIDDEN = ("told apart", "spoilt", "blurs over", "tells the truth")


def paragraphs(text):
    """Paragraphs and list items, each in one line; no code, comments, tables or headings."""
    text = re.sub(r"<!--.*?-->", "\n\n", FENCE.sub("", text))
    for block in re.split(r"\n\s*\n", text):
        if not block.lstrip().startswith(("|", "#", "![")):
            yield from (" ".join(part.split()) for part in re.split(r"\n(?=[*-] |\d+\. )", block))


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paragraphs_and_lines_of_code_are_short(page):
    text = page.read_text()
    assert [p for p in paragraphs(text) if len(p) > LONGEST_PARAGRAPH[page]] == []
    assert [line for _, body in FENCE.findall(text) for line in body.splitlines() if len(line) > LONGEST_CODE] == []
    assert [words for words in FORBIDDEN if words in text] == []


def test_the_code_of_the_readme_prints_what_it_says(capsys):
    names = {}
    for kind, body in FENCE.findall(README.read_text()):
        if kind == "python":
            exec(compile(body, "README.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "POT's plan costs 0.2435"
    assert printed[1].startswith("ours 0.0214, no plan less than 0.021")
    assert names["ours"].gap <= 0.01
    lower, value = map(float, printed[2].split())
    assert 0 < lower < value


def test_the_figures_beside_the_code_of_the_readme_are_those_of_the_record():
    from experiments.pot_audit.run import RECORD

    row = next(r for r in RECORD.rows if r["job"] == "noisy copies 0")
    assert f"# {row['pot']:.4f}" in README.read_text()
    assert f"# {row['value']:.4f}, {row['lower']:.4f}" in README.read_text()


def rows(page):
    """Cells of code in the tables of a page."""
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if line.startswith("| `") and len(cells) == 2 and all(c.startswith("`") and c.endswith("`") for c in cells):
            yield [cell.strip("`") for cell in cells]


CALLS = [pair for pair in rows(README) if pair[0].startswith("ot.")]


def test_the_calls_were_found():
    assert len(CALLS) == 4


@pytest.mark.parametrize("pair", CALLS, ids=lambda pair: pair[0].split("(")[0])
@pytest.mark.parametrize("seed", range(3))
def test_every_call_beside_one_of_pot_answers_the_same_question(pair, seed):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(9, 2)), rng.normal(size=(8, 2))
    p, q = rng.dirichlet(np.full(9, 5.0)), rng.dirichlet(np.full(8, 5.0))
    C1, C2, M = ot.dist(X, X, "euclidean"), ot.dist(Y, Y, "euclidean"), ot.dist(X, Y)
    names = {"ot": ot, "gwfast": gwfast, "C1": C1, "C2": C2, "M": M, "p": p, "q": q}
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):  # of POT's Sinkhorn
        theirs = np.asarray(eval(pair[0], names))
    ours = np.asarray(eval(pair[1], names))
    assert theirs.shape == ours.shape
    if theirs.ndim == 0:
        assert ours <= theirs * (1 + 1e-9)
        return
    assert np.allclose(ours.sum(axis=1), p)
    assert np.allclose(ours.sum(axis=0), q)
    value = {k: gwfast.certify(C1, C2, T, p, q, effort="sort").upper for k, T in (("ot", theirs), ("gwfast", ours))}
    assert value["gwfast"] <= 1.02 * value["ot"]


def test_the_configuration_of_the_readme_is_valid(tmp_path):
    from gwfast_llm.command_line.parser import config_parser, parse

    body = next(body for kind, body in FENCE.findall(README.read_text()) if kind == "yaml")
    file = tmp_path / "fuse.yaml"
    file.write_text(body)
    _, config = parse(config_parser("fuse", ""), ["--config", str(file)])
    assert config.pivot.model == "path/to/small"
    assert [s.model for s in config.sources] == ["path/to/large"]


def test_what_the_readme_links_to_is_there():
    links = re.findall(r"\]\(([^)#]+)", README.read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
