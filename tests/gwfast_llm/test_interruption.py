"""Signals and streams that go: a checkpoint within a step, a true message, an end at once the second time."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from fusing import environment
from gwfast_llm.command_line.parser import guard
from gwfast_llm.system import interruption
from gwfast_llm.system.errors import InterruptedFusion
from gwfast_llm.training.trainer import FusionTrainer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")


def send_in(monkeypatch, method, when, *signals):
    """Send signals to this process in a call of a trainer's method."""
    real, calls = getattr(FusionTrainer, method), [0]

    def around(self, *arguments, **options):
        calls[0] += 1
        if calls[0] == when:
            for number in signals:
                os.kill(os.getpid(), number)
        return real(self, *arguments, **options)

    monkeypatch.setattr(FusionTrainer, method, around)


def dropping(monkeypatch, home):
    """Let the pivot drop a tenth of its attention, so that the generators' states matter."""
    from transformers import AutoModelForCausalLM

    real = AutoModelForCausalLM.from_pretrained.__func__
    monkeypatch.setattr(
        AutoModelForCausalLM,
        "from_pretrained",
        classmethod(lambda cls, name, **options: real(cls, name, **options, attention_dropout=0.1)),
    )


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


STOPS = [
    ("training_step", 6, signal.SIGINT, 2),  # in the second of the two batches of step 3
    ("_totals", 18, signal.SIGTERM, 5),  # in the midst of the evaluation of step 5
    ("_totals", 25, signal.SIGHUP, 6),  # in that after the last step
]


def test_a_stopped_run_goes_on_to_the_same_bits(home, tmp_path, fuse_here, monkeypatch):
    dropping(monkeypatch, home)
    settings = {"accumulate": 2, "batch_size": 2, "eval_every": 5}
    assert fuse_here(name="whole", **settings)[0] == 0
    whole = tmp_path / "runs" / "whole"
    first = load_file(whole / "model" / "model.safetensors")
    for k, (method, when, number, step) in enumerate(STOPS):
        run, work = (tmp_path / "runs" / name for name in (f"r{k}", f".r{k}.unfinished"))
        with monkeypatch.context() as patch:
            send_in(patch, method, when, number)
            code, said = fuse_here(name=run.name, **settings)
        name = signal.Signals(number).name
        assert code == 130
        assert f"{name}: a checkpoint is written first; a second one stops at once" in said
        assert f"stopped; {name} at step {step}: the checkpoint of step {step} is kept in {work}" in said
        assert "--resume" in said
        assert "Traceback" not in said
        assert [p.name for p in (work / "checkpoints").glob("checkpoint-*")] == [f"checkpoint-{step}"]
        assert fuse_here("--resume", name=run.name, **settings)[0] == 0
        assert metrics(whole) == metrics(run)
        second = load_file(run / "model" / "model.safetensors")
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert not list((tmp_path / "runs").glob(".*"))


def test_a_second_signal_stops_at_once(tmp_path, fuse_here, monkeypatch):
    send_in(monkeypatch, "training_step", 3, signal.SIGINT, signal.SIGINT)
    code, said = fuse_here()
    assert code == 130
    assert "nothing had been made yet that could be gone on from" in said
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_signal_before_the_first_step_leaves_nothing(tmp_path, fuse_here, monkeypatch):
    send_in(monkeypatch, "get_batch_samples", 1, signal.SIGTERM)
    code, said = fuse_here()
    assert code == 130
    assert "SIGTERM at step 0: nothing had been made yet" in said
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_signal_while_the_model_is_written_waits_for_it(tmp_path, fuse_here, monkeypatch):
    from gwfast_llm.training import gather

    real = gather.write_model

    def write(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(gather, "write_model", write)
    code, said = fuse_here()
    run = tmp_path / "runs" / "r"
    assert code == 130
    assert f"the model is whole, in {run}; python -m gwfast_llm.report {run} makes pictures and page" in said
    assert (run / "model" / "model.safetensors").is_file()
    assert not (run / "report.md").exists()
    from gwfast_llm.report import main

    assert main([str(run)]) == 0
    assert (run / "report.md").is_file()
    assert (run / "losses.png").is_file()


def test_a_library_call_saves_into_the_folder_that_it_is_given(home, tmp_path, monkeypatch):
    from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, TrainConfig
    from gwfast_llm.training.checkpoints import last_checkpoint
    from gwfast_llm.training.fusion import fuse

    config = FuseConfig(
        ModelConfig(str(home / "pivot")),
        DataConfig(str(home / "train.jsonl"), max_length=96, end_token=False),
        objective=ObjectiveConfig(preset="sft"),
        train=TrainConfig(steps=4, batch_size=4, save_every=0, eval_every=0, samples=0),
    )
    send_in(monkeypatch, "training_step", 3, signal.SIGINT)
    with pytest.raises(InterruptedFusion, match="SIGINT at step 2"):
        fuse(config, lambda done, total: None, tmp_path / "checkpoints")
    last = last_checkpoint(tmp_path / "checkpoints")
    assert last is not None
    assert last.name == "checkpoint-2"
    monkeypatch.undo()
    fuse(config, lambda done, total: None)  # the signal was for the call before
    with monkeypatch.context() as patch:
        send_in(patch, "training_step", 3, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt) as stop:
            fuse(config, lambda done, total: None)  # no folder: nothing to wait for
        assert stop.type is KeyboardInterrupt


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with interruption.as_keyboard(), interruption.deferred("nothing"):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interruption.asked()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_launcher_that_hands_a_signal_on_is_no_second_one(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with interruption.deferred("nothing"):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.asked() == "SIGINT"
        monkeypatch.setattr(interruption, "ECHO", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_command_ends_with_one_line(number, capsys):
    def work():
        os.kill(os.getpid(), number)
        time.sleep(5)
        return 0

    before = signal.getsignal(number)
    assert guard(work) == 130
    assert capsys.readouterr().err == "\nstopped\n"
    assert signal.getsignal(number) == before


LASTING = """
import sys
from gwfast_llm.system.interruption import lasting_streams
with lasting_streams():
    for k in range(2000):
        print("line", k, flush=True)
        print("line", k, file=sys.stderr, flush=True)
open(sys.argv[1], "w").write("done")
sys.stdout = sys.stderr = None
"""


def test_work_goes_on_where_nobody_reads_any_more(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", LASTING, str(tmp_path / "x")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.wait(60)
    assert (tmp_path / "x").read_text() == "done"
