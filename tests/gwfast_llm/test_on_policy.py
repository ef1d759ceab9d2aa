"""Answers that the pivot writes itself: whose they are, what counts on them, and that a kill changes no bit."""

import json
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fusing import agrees, config_file, launched, records, run
from gwfast_llm.config import ModelConfig
from gwfast_llm.fuse import main as fuse_command
from gwfast_llm.models.loading import load_model
from gwfast_llm.models.writing import written
from gwfast_llm.terms.batch import Batch
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.examples import spelling
from gwfast_llm.training.on_policy import OnPolicy, is_own, own_row

OWN = {"on_policy": 0.5, "on_policy_every": 4, "on_policy_length": 12, "steps": 8, "log_every": 2}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.75, 1.0])
def test_the_share_is_kept_and_spread(share):
    own = [is_own(k, share) for k in range(200)]
    assert sum(own) == round(200 * share)
    for start in range(180):
        assert abs(sum(own[start : start + 20]) - 20 * share) <= 1


def test_a_row_is_what_was_written_with_bytes_of_its_own(tokenizers):
    pivot = tokenizers[0]
    table = spelling(pivot)
    marks = [i for i, piece in enumerate(table) if piece is None]
    ids = [i for i, piece in enumerate(table) if piece][5:9]
    row, text = own_row([7, 8], [*ids, marks[0], 3], {marks[0]}, pivot)
    assert row.ids == [7, 8, *ids, marks[0]]
    assert text.encode() == b"".join(table[i] for i in ids)
    assert row.ends == [*(len(b"".join(table[j] for j in ids[: k + 1])) for k in range(4)), len(text.encode()) + 1]
    assert not row.cut
    row, _ = own_row([7], [*ids, marks[-1], ids[0]], {-1}, pivot)  # another mark ends the text without closing it
    assert row.ids == [7, *ids]
    assert row.cut
    assert own_row([7], [marks[0]], {marks[0]}, pivot) is None


def test_the_sources_score_what_the_pivot_wrote_at_that_step(home, fuse_here, monkeypatch):
    seen = []
    replaced = OnPolicy.replaced

    def look(self, samples, model, step, rank, world):
        found = replaced(self, samples, model, step, rank, world)
        for k, batch in enumerate(found):
            fresh = self._period if batch.written else None
            seen.append((step, k, batch, {n: p.detach().clone() for n, p in model.named_parameters()}, fresh))
        return found

    monkeypatch.setattr(OnPolicy, "replaced", look)
    code, said = fuse_here(**OWN)
    assert code == 0, said
    assert [batch.written for _, _, batch, _, _ in seen] == [is_own(k, 0.5) for k in range(8)]
    first = next(entry for entry in seen if entry[2].written)
    batch = first[2]
    for ids, labels in zip(batch.input_ids, batch.labels, strict=True):
        start = int((labels >= 0).nonzero()[0])
        answer = labels[labels >= 0].tolist()
        assert ids[start : start + len(answer)].tolist() == answer
        assert 0 < len(answer) <= 12
    assert batch.carried is not None
    assert (batch.carried.probs.sum(-1)[batch.pairs.mask] > 0.5).float().mean() > 0.8

    # the second period's answers are what the weights at its first step write, with the seed of that step
    weights = next(entry[3] for entry in seen if entry[0] == 4)
    pivot = load_model(ModelConfig(str(home / "pivot")))
    pivot.load_state_dict(weights, strict=False)
    rows = seen[-1][4].collator._rows
    prompts = [row.ids[: row.prompt_length] for row in rows]
    again = written(pivot, prompts, [], 12, 0, 1.0, 4 * 1009)
    # an untrained pivot also writes marks, before which a row is cut
    assert all(row.answer == ids[: len(row.answer)] for row, ids in zip(rows, again, strict=True))

    objective = Objective.of(fused_objective(), 1)
    counts = objective.counts(batch)
    assert objective.names == ["sft", "path"]
    assert counts[0] == 0  # its own answers are no examples to it
    assert counts[1] == batch.pairs.mask.sum()


def fused_objective():
    from gwfast_llm.config import ObjectiveConfig

    return ObjectiveConfig(source_top_k=0)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_reverse_kl_and_adapters_go_with_it(fuse_here, tmp_path):
    objective = {"preset": "custom", "path": 1.0, "simct": 1.0, "divergence": "reverse", "source_top_k": 0}
    code, said = fuse_here("--lora.rank", "2", objective=objective, **OWN | {"steps": 2, "on_policy": 1.0})
    assert code == 0, said
    rows = [json.loads(line) for line in (tmp_path / "runs" / "r" / "metrics.jsonl").read_text().splitlines()]
    losses = [row for row in rows if "loss" in row]
    assert losses
    for row in losses:
        assert row["sft"] == 0
        assert row["path"] > 0
        assert row["simct"] > 0


def test_what_it_needs_is_one_line(fuse_here, home, tmp_path):
    code, said = fuse_here("--sources", json.dumps([{"model": str(home / "A"), "cache": "c"}]), on_policy=0.5)
    assert code == 2
    assert "train.on_policy needs sources that run" in said
    code, said = fuse_here(objective={"preset": "sft"}, on_policy=0.5)
    assert code == 2
    assert "train.on_policy needs a part that asks the sources" in said
    code, said = fuse_here(on_policy=1.5)
    assert code == 2
    assert "train.on_policy is 1.5; expected a share from 0 to 1" in said


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_run_that_was_killed_goes_on_to_the_same_bits(fuse_here, tmp_path, monkeypatch):
    settings = {**OWN, "save_every": 3, "accumulate": 2, "batch_size": 2}
    code, said = fuse_here(name="whole", **settings)
    assert code == 0, said
    # step 7 comes after a second time of writing; the last checkpoint is of step 6
    flags = ["--config", tmp_path / "c.yaml", "--runs", tmp_path / "runs", "--name", "killed"]
    killed = run([sys.executable, Path(__file__).with_name("around.py"), *flags], DIE_AT="7")
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    kept = tmp_path / "runs" / ".killed.unfinished" / "checkpoints" / "written"
    assert sorted(path.name for path in kept.iterdir()) == ["step-00000000.json", "step-00000004.json"]
    wrote = []
    write = OnPolicy._write
    monkeypatch.setattr(OnPolicy, "_write", lambda self, *given: (wrote.append(given[1]), write(self, *given))[1])
    code, said = fuse_here("--resume", name="killed", **settings)
    assert code == 0, said
    assert wrote == []  # step 6 lies within the period of step 4, whose answers were kept
    one, two = (load_file(tmp_path / "runs" / name / "model" / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    first, second = (records(tmp_path / "runs" / name) for name in ("whole", "killed"))
    assert first == second


def test_two_processes_give_the_losses_of_one(home, tmp_path):
    flags = [f"--train.{n}" for n in ("on_policy", "on_policy_every", "on_policy_length", "diagnose", "interval_every")]
    flags = [x for pair in zip(flags, ("0.5", "4", "12", "0", "0"), strict=True) for x in pair]
    path = config_file(tmp_path / "c.yaml", home, 12)
    assert fuse_command(["--config", str(path), "--runs", str(tmp_path), "--name", "one", *flags]) == 0
    around = Path(__file__).parent / "around.py"
    done = launched(home, tmp_path, "two", around, flags)
    assert done.returncode == 0, done.stderr[-3000:]
    agrees(tmp_path / "one", tmp_path / "two")


def test_an_ordinary_batch_counts_as_before():
    labels = torch.tensor([[-100, 3, 4]])
    batch = Batch(labels, labels)
    objective = Objective.cross_entropy()
    assert objective.counts(batch).tolist() == [2.0]
    assert objective.counts(batch.as_written()).tolist() == [0.0]
