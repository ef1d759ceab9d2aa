"""Terms: the table and what it promises, and a term registered from outside."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import gwfast_llm
from gwfast_llm import FuseConfig, FusionError, Needs, ObjectiveConfig, Part, Term, fuse, register_term
from gwfast_llm.config import WEIGHTS, DataConfig, ModelConfig, SourceConfig, TrainConfig
from gwfast_llm.terms.batch import Batch, Pairs, stacked
from gwfast_llm.terms.part import sum_items
from gwfast_llm.terms.table import TERMS
from gwfast_llm.text.packing import Places
from gwfast_llm.text.tensors import Tensors


def quiet(done, total):
    """Progress nobody watches."""


@pytest.fixture
def table():
    """The table of terms, put back afterwards."""
    before = dict(TERMS)
    yield TERMS
    TERMS.clear()
    TERMS.update(before)


def config(home, objective, sources="AB", **train):
    return FuseConfig(
        ModelConfig(str(home / "pivot")),
        DataConfig(str(home / "train.jsonl"), str(home / "held-out.jsonl"), max_length=96, end_token=False),
        [SourceConfig(str(home / name), name=name) for name in sources],
        objective,
        TrainConfig(
            **{
                "steps": 3,
                "batch_size": 4,
                "log_every": 1,
                "lr": 1e-3,
                "diagnose": 4,
                "eval_every": 0,
                "samples": 0,
                **train,
            }
        ),
    )


@dataclass(frozen=True)
class Confidence(Tensors):
    """Largest probability of the source at matched positions, (B, S, P)."""

    largest: torch.Tensor


@dataclass(frozen=True)
class Sharpness(Term):
    """Squared gap of the largest probabilities of pivot and source: tensors, options and carried targets of its own."""

    power: int = 2

    name: ClassVar[str] = "sharpness"
    needs: ClassVar[Needs] = Needs(pairs=True, kept=True)

    @classmethod
    def of(cls, objective):
        return cls(2 if objective.gld_distance == "squared" else 1)

    def collate(self, answers):
        return Confidence(stacked([[a.kept.probs[a.at_pairs, 0] for a in row] for row in answers]))

    def part(self, student, batch, slot):
        at, mask = batch.matched(slot)
        rows = torch.arange(len(at), device=at.device)[:, None]
        own = student.kept(gwfast_llm.Selection()).probs[rows, at][..., 0]
        gap = (own - self.own(batch).largest[:, slot]).abs().pow(self.power)
        return sum_items(gap, mask, batch.weight(slot)[:, None])


class Calm(Term):
    """The mean log-probability of nothing: cross-entropy again, without any source."""

    name = "calm"

    def part(self, student, batch, slot):
        found = student.cross_entropy(batch.labels)
        return Part(found.total / 2, found.count)


def test_every_weight_is_a_term_and_every_term_has_a_weight():
    # the experiments' controls register themselves where another test has imported them
    own = {name: term for name, term in TERMS.items() if term.__module__.startswith("gwfast_llm.")}
    assert tuple(own) == WEIGHTS
    assert list(ObjectiveConfig().weights) == list(own)
    for name, term in own.items():
        assert term.name == name
        assert term.__doc__
        assert (name == "sft") != term.needs.sources


@pytest.mark.parametrize(("chunk", "packing"), [(0, False), (7, False), (0, True), (7, True)])
def test_a_term_of_ones_own_trains(home, table, chunk, packing):
    register_term(Sharpness)
    objective = ObjectiveConfig(preset="custom", path=1.0, terms={"sharpness": 0.5}, source_top_k=0)
    made = fuse(config(home, objective, chunk=chunk, packing=packing), quiet)
    rows = [row for row in made.metrics if "loss" in row]
    assert len(rows) == 3
    for row in rows:
        assert 0 < row["sharpness"] < 1
        assert row["loss"] == pytest.approx(row["sft"] + row["path"] + 0.5 * row["sharpness"], rel=1e-5)
    assert [row["part"] for row in made.metrics if "cosine" in row] == ["sft", "path", "sharpness"]


def test_a_term_without_sources_needs_none(home, table):
    register_term(Calm)
    objective = ObjectiveConfig(preset="custom", terms={"calm": 2.0})
    plain = fuse(config(home, ObjectiveConfig(preset="sft"), "", diagnose=0), quiet)
    both = fuse(config(home, objective, "", diagnose=0), quiet)
    for a, b in zip(plain.metrics, both.metrics, strict=True):
        assert b["sft"] == pytest.approx(2 * b["calm"])
        assert b["loss"] == pytest.approx(2 * b["sft"])
        assert a["sft"] == pytest.approx(b["sft"], rel=1e-2)  # twice the gradient, clipped and normalised by Adam


def test_a_term_of_ones_own_is_named_in_a_configuration_file(home, table, tmp_path, capsys):
    import json

    import yaml

    from gwfast_llm.fuse import main

    register_term(Sharpness)
    one = config(home, ObjectiveConfig(preset="custom", terms={"sharpness": 0.5}, source_top_k=0), diagnose=0)
    content = dataclasses.asdict(one)
    (tmp_path / "fuse.yaml").write_text(yaml.safe_dump(content))
    line = ["--config", str(tmp_path / "fuse.yaml"), "--runs", str(tmp_path / "runs"), "--name", "r"]
    assert main(line) == 0, capsys.readouterr().err
    kept = json.loads((tmp_path / "runs" / "r" / "run.json").read_text())
    assert kept["weights"] == {"sft": 1.0, "sharpness": 0.5}
    assert "0.5 sharpness" in (tmp_path / "runs" / "r" / "report.md").read_text()
    assert (tmp_path / "runs" / "r" / "losses.png").is_file()


def test_weights_are_taken_from_the_command_line(home):
    from gwfast_llm.command_line.parser import config_parser, parse

    line = ["--pivot.model", "p", "--data.train", "t", "--sources", "[{model: s}]", "--objective.preset", "custom"]
    _, found = parse(config_parser("fuse", ""), [*line, "--objective.terms", "{mine: 0.5, other: 2}"])
    assert found.objective.terms == {"mine": 0.5, "other": 2.0}
    with pytest.raises(FusionError, match=r"--objective\.terms is 3; expected names with a value each"):
        parse(config_parser("fuse", ""), [*line, "--objective.terms", "3"])


def test_mistakes_are_named(home, table):
    objective = ObjectiveConfig(preset="custom", terms={"sharpness": 1.0})
    with pytest.raises(FusionError, match=r"there is no term 'sharpness'; register it with gwfast_llm\.register_term"):
        fuse(config(home, objective), quiet)
    register_term(Sharpness)
    assert register_term(Sharpness) is Sharpness
    with pytest.raises(FusionError, match=r"sources is empty, but sharpness needs some"):
        fuse(config(home, objective, ""), quiet)
    with pytest.raises(FusionError, match="there is a term 'path' already"):
        register_term(type("Mine", (Term,), {"name": "path"}))
    with pytest.raises(FusionError, match="the name of Mine is 'a b'"):
        register_term(type("Mine", (Term,), {"name": "a b"}))
    with pytest.raises(FusionError, match=r"objective\.terms: path has a field of its own; give objective\.path"):
        ObjectiveConfig(preset="custom", terms={"path": 1.0})
    with pytest.raises(FusionError, match=r"which fixes the weights, but sharpness is given too"):
        ObjectiveConfig(terms={"sharpness": 1.0})
    with pytest.raises(FusionError, match=r"objective\.sharpness is -1; expected 0 or more"):
        ObjectiveConfig(preset="custom", terms={"sharpness": -1})
    with pytest.raises(FusionError, match=r"objective\.terms\.sharpness is 'much'; expected a number"):
        ObjectiveConfig(preset="custom", terms={"sharpness": "much"})  # type: ignore[dict-item]


def test_a_batch_moves_as_one():
    """As accelerate moves what the trainer is handed, with records in records and in dictionaries."""
    from accelerate.utils import send_to_device

    one = torch.ones(2, 1, 3)
    places = Places(torch.zeros(2, dtype=torch.long), torch.zeros(2, dtype=torch.long), 4)
    own = {"sharpness": Confidence(one)}
    batch = Batch(one, one, places=places, idle=True, pairs=Pairs(one, one > 0), own=own)
    moved = send_to_device({"batch": batch}, torch.device("meta"))["batch"]
    found = [moved.input_ids, moved.labels, moved.places.row, moved.places.start, moved.pairs.index, moved.pairs.mask]
    assert all(tensor.is_meta for tensor in [*found, moved.own["sharpness"].largest])
    assert (moved.idle, moved.places.length, moved.carried) == (True, 4, None)
    assert not batch.pairs.index.is_meta


def test_public_names_are_there():
    for name in gwfast_llm.__all__:
        assert getattr(gwfast_llm, name) is not None
    from gwfast_llm.fuse import main

    assert callable(main)
    assert gwfast_llm.fuse is fuse  # the function, though a module has its name


def test_a_term_without_a_loss_is_not_registered():
    class Unfinished(Term):
        name = "unfinished"

    with pytest.raises(FusionError, match="the term Unfinished has no method 'part'; write one"):
        register_term(Unfinished)
