"""Checkpoints: written by time, checked before they are gone on from, kept two at a time."""

import json
import shutil

import pytest
import torch

from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.records import unsound, write_checksums
from gwfast_llm.training import saving
from gwfast_llm.training.checkpoints import WHOLE, last_checkpoint, remove_halves, sound_checkpoint
from gwfast_llm.training.saving import SaveClock
from gwfast_llm.training.trainer import FusionTrainer


class Killed(BaseException):
    """Stands for a kill."""


def die_at(monkeypatch, step):
    """Be killed when this step begins."""
    real = FusionTrainer.get_batch_samples

    def samples(self, *arguments):
        if self.state.global_step == step:
            raise Killed
        return real(self, *arguments)

    monkeypatch.setattr(FusionTrainer, "get_batch_samples", samples)


@pytest.fixture
def killed(fuse_here, tmp_path, monkeypatch):
    """Folder of the checkpoints of a run that was killed at step 5; the whole ones are those of 2 and 4."""
    with monkeypatch.context() as patch:
        die_at(patch, 5)
        with pytest.raises(Killed):
            fuse_here(save_every=2)
    return tmp_path / "runs" / ".r.unfinished" / "checkpoints"


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


FILES = [
    "model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "sums_0.pt",
    "training_args.bin", "config.json",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("spoil", [flip, cut, lambda path: path.unlink()], ids=["flipped", "cut", "missing"])
def test_every_file_of_a_checkpoint_is_checked(tmp_path, name, spoil):
    for step in (2, 4):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for k, one in enumerate(FILES):
            (folder / one).write_bytes(bytes([k, step]) * 9)
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        write_checksums(folder, WHOLE)
    spoil(tmp_path / "checkpoint-4" / name)
    found, said = sound_checkpoint(tmp_path)
    assert found == tmp_path / "checkpoint-2"
    assert f"checkpoint-4/{name} is " in said
    assert said.endswith(": the run goes on from step 2")
    assert last_checkpoint(tmp_path) == found  # the bad one is gone, and cannot be taken for the newest again


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"x": 3}', '{"../out": [1, "a"]}', "[" * 10**5])
def test_a_mark_that_lists_nothing_whole_is_no_mark(tmp_path, content):
    folder = tmp_path / "checkpoint-4"
    folder.mkdir()
    (folder / WHOLE).write_text(content)
    with pytest.raises(FusionError, match=r"checkpoint-4.*; there is no other whole checkpoint") as problem:
        sound_checkpoint(tmp_path)
    assert len(str(problem.value).splitlines()) == 1
    assert folder.is_dir()


def test_a_damaged_checkpoint_is_left_out_and_the_run_is_the_same(fuse_here, tmp_path, killed):
    assert fuse_here(name="whole", save_every=2)[0] == 0
    flip(killed / "checkpoint-4" / "optimizer.pt")
    code, said = fuse_here("--resume", save_every=2)
    assert code == 0, said
    page = (tmp_path / "runs" / "r" / "report.md").read_text()
    assert "checkpoint-4/optimizer.pt is damaged (its checksum is another): the run goes on from step 2" in page
    found = [(tmp_path / "runs" / name / "metrics.jsonl").read_text() for name in ("whole", "r")]
    assert found[0] == found[1]
    files = [(tmp_path / "runs" / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "r")]
    assert files[0] == files[1]


def test_no_sound_checkpoint_is_one_line_and_deletes_nothing(fuse_here, killed):
    for step in (2, 4):
        (killed / f"checkpoint-{step}" / "optimizer.pt").unlink()
    code, said = fuse_here("--resume", save_every=2)
    assert code == 2
    assert "checkpoint-4/optimizer.pt is missing; there is no other whole checkpoint: put back what was there" in said
    assert "Traceback" not in said
    assert sorted(path.name for path in killed.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]


def test_inputs_that_cannot_be_compared_are_not_taken_for_the_same(fuse_here, killed):
    record = killed / "inputs.json"
    for content in (None, "", "[]", '{"data.train": 3}'):
        record.unlink(missing_ok=True)
        if content is not None:
            record.write_text(content)
        code, said = fuse_here("--resume", save_every=2)
        assert code == 2
        assert ("changed since this run was started" if content == '{"data.train": 3}' else "inputs.json") in said
        assert "Traceback" not in said
        assert "the checkpoint of step 4 is kept" in said


def test_a_checkpoint_of_another_step_than_its_name_says_is_left_out(tmp_path):
    for step in (2, 4):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        write_checksums(folder, WHOLE)
    (tmp_path / "checkpoint-4").rename(tmp_path / "checkpoint-500")
    found, said = sound_checkpoint(tmp_path)
    assert found == tmp_path / "checkpoint-2"
    assert said.endswith("checkpoint-500 is of step 4, as its trainer_state.json says: the run goes on from step 2")
    found.rename(tmp_path / "checkpoint-7")
    with pytest.raises(
        FusionError, match=r"checkpoint-7 is of step 2, .*; there is no other whole checkpoint: put back"
    ):
        sound_checkpoint(tmp_path)
    assert (tmp_path / "checkpoint-7" / "trainer_state.json").is_file()


def test_a_half_checkpoint_of_a_killed_run_is_said_and_left_out(tmp_path):
    for step in (2, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    write_checksums(tmp_path / "checkpoint-2", WHOLE)
    found, said = sound_checkpoint(tmp_path)
    assert found == tmp_path / "checkpoint-2"
    assert said == "checkpoint-4 was not written to its end: the run goes on from step 2"
    assert not (tmp_path / "checkpoint-4").exists()
    assert remove_halves(tmp_path) == []
    assert sound_checkpoint(tmp_path) == (found, "")
    assert sound_checkpoint(tmp_path, before=2) == (None, "")
    assert not unsound(found, WHOLE)


def test_time_decides_where_no_number_of_steps_does(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(saving.time, "monotonic", lambda: now[0])
    clock = SaveClock(-1)
    assert not clock.due(at_end=True)
    now[0] += 61
    assert clock.due(at_end=True)  # a run of more than a minute is safe before its model is written
    assert not clock.due(at_end=False)
    now[0] += 540
    assert clock.due(at_end=False)
    began = now[0]
    now[0] += 90
    clock.saved(began)  # writing took a minute and a half: every 15 minutes are enough
    now[0] += 899
    assert not clock.due(at_end=False)
    now[0] += 1
    assert clock.due(at_end=False)
    for every in (0, 5):
        fixed = SaveClock(every)
        now[0] += 10_000
        assert not fixed.due(at_end=True)


def test_by_default_a_killed_run_has_lost_ten_minutes_at_most(fuse_here, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "PERIOD", 0.0)
    monkeypatch.setattr(saving, "SHARE", 0)
    with monkeypatch.context() as patch:
        die_at(patch, 3)
        with pytest.raises(Killed):
            fuse_here()
    folder = tmp_path / "runs" / ".r.unfinished" / "checkpoints"
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-3"]
    assert fuse_here("--resume")[0] == 0
    assert fuse_here(name="whole")[0] == 0
    found = [(tmp_path / "runs" / name / "metrics.jsonl").read_text() for name in ("whole", "r")]
    assert found[0] == found[1]


def test_short_runs_write_no_checkpoint(fuse_here, monkeypatch):
    monkeypatch.setattr(FusionTrainer, "_save_checkpoint", None)
    assert fuse_here()[0] == 0


def test_weights_that_are_not_finite_push_out_no_good_checkpoint(fuse_here, killed, tmp_path, monkeypatch):
    real = FusionTrainer._save_checkpoint

    def save(self, *arguments):
        with torch.no_grad():
            next(self.model.parameters())[0] = torch.inf
        return real(self, *arguments)

    shutil.copytree(killed, tmp_path / "before")
    monkeypatch.setattr(FusionTrainer, "_save_checkpoint", save)
    code, said = fuse_here("--resume", save_every=2)
    assert code == 2
    assert "the weights are no longer finite at step 6" in said
    assert "the checkpoint of step 4 is kept" in said
    for name in ("checkpoint-2", "checkpoint-4"):
        assert not unsound(killed / name, WHOLE)
        before = tmp_path / "before" / name / WHOLE
        assert (killed / name / WHOLE).read_text() == before.read_text()
