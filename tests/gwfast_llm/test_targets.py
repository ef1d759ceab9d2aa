"""Targets on disk: the same as those carried on the spot, resumable, and found only by what they were made for."""

import dataclasses

import pytest
import torch

from gwfast_llm.config import SourceConfig
from gwfast_llm.models.loading import load_tokenizer
from gwfast_llm.system.errors import FusionError
from gwfast_llm.teachers import shards
from gwfast_llm.teachers.path import PathMap
from gwfast_llm.teachers.store import Identity, StoredSource, write_store
from gwfast_llm.teachers.targets import TargetFolder, target_bytes
from gwfast_llm.text.examples import encode_all
from gwfast_llm.training.sources import online_source

IDENTITY = Identity("m", "t", "c")
TRAINED = 32


class Case:
    """A cached source, the pivot's rows and the map between them."""

    def __init__(self, home, examples, folder, dtype="float32", keep=7):
        own, pivot = (load_tokenizer(SourceConfig(str(home / name))) for name in ("B", "pivot"))
        config = SourceConfig(str(home / "B"), name="B")
        self.rows = encode_all(examples, pivot), encode_all(examples, own)
        write_store(folder, online_source(config, own, self.rows[1], keep=0), IDENTITY, 10, dtype)
        self.source = StoredSource("B", folder, own, self.rows[1], IDENTITY, keep)
        self.carry = PathMap(pivot, own, examples[:TRAINED], self.rows[0][:TRAINED], self.rows[1])
        self.folder, self.pivot, self.keep = folder, pivot, keep

    def targets(self, rows=None, **changed):
        signals = {**self.source.manifest, **changed}
        return TargetFolder(self.folder, signals, self.pivot, rows or self.rows, TRAINED, self.keep)

    def carried(self, i):
        return self.carry.targets(self.rows[0][i], self.rows[1][i], self.source.signals([i])[0], self.keep)


@pytest.fixture
def case(home, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 16)
    return Case(home, examples, tmp_path / "B")


@pytest.mark.parametrize("keep", [0, 3, 7])
def test_what_is_read_is_what_is_carried(home, examples, tmp_path, monkeypatch, keep):
    monkeypatch.setattr(shards, "SHARD", 16)
    case = Case(home, examples, tmp_path / "B", keep=keep)
    folder = case.targets()
    assert folder.write(case.source, case.carry) == 3
    found = folder.read("B")
    for i in [40, 3, 17, 3]:
        for field in dataclasses.fields(found[i]):
            assert torch.equal(getattr(found[i], field.name), getattr(case.carried(i), field.name)), field.name


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_half_precision_rounds_probabilities_and_keeps_their_sum(home, examples, tmp_path, dtype, tolerance):
    case = Case(home, examples, tmp_path / "B", dtype)
    folder = case.targets()
    folder.write(case.source, case.carry)
    for i in range(len(examples)):
        found, exact = folder.read("B")[i], case.carried(i)
        assert torch.equal(found.ids, exact.ids)
        torch.testing.assert_close(found.probs, exact.probs, rtol=tolerance, atol=2**-24)
        torch.testing.assert_close(found.probs.sum(1) + found.tail, torch.ones(len(found.tail)), rtol=0, atol=0.01)


def test_size_is_at_most_what_was_said(case):
    folder = case.targets()
    folder.write(case.source, case.carry)
    positions = sum(len(row.ids) - row.prompt_length for row in case.rows[0])
    found = sum(path.stat().st_size for path in folder.path.glob("*.safetensors"))
    assert found <= positions * target_bytes(case.keep, "float32") + 3 * 2000  # headers, keys and borders


def test_stopped_folder_goes_on_and_is_the_same(case):
    class Stops(Exception):
        """Stands for a kill."""

    def stop(done, total):
        if done > 20:
            raise Stops

    folder = case.targets()
    with pytest.raises(Stops):
        folder.write(case.source, case.carry, stop)
    with pytest.raises(FusionError, match=r"source B: .* is unfinished \(1 of 3 shards\)"):
        folder.read("B")
    assert folder.write(case.source, case.carry) == 2
    assert folder.write(case.source, case.carry) == 0
    assert torch.equal(folder.read("B")[41].probs, case.carried(41).probs)


def test_another_source_pivot_text_or_number_is_another_folder(case, examples):
    here = case.targets().path
    assert case.targets().path == here
    others = [case.targets(**{what: "x"}).path for what in ("model", "tokenizer", "template", "dtype", "keep")]
    changed = [*examples[:-1], dataclasses.replace(examples[-1], response=" zzz.")]
    rows = encode_all(changed, case.pivot), encode_all(changed, case.source.tokenizer)
    others.append(case.targets(rows).path)
    others.append(TargetFolder(case.folder, case.source.manifest, case.pivot, case.rows, TRAINED - 1, case.keep).path)
    others.append(TargetFolder(case.folder, case.source.manifest, case.pivot, case.rows, TRAINED, case.keep - 1).path)
    others.append(
        TargetFolder(case.folder, case.source.manifest, case.source.tokenizer, case.rows, TRAINED, case.keep).path
    )
    assert len({here, *others}) == 1 + len(others)
