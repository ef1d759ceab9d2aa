"""Runs that stop: broken loss, full disk, no memory, other inputs; nothing is lost.  Long: there are many of these."""

import dataclasses
import errno
import json
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from gwfast_llm.command_line import run_folder
from gwfast_llm.config import (
    DataConfig,
    FuseConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    SourceConfig,
    TrainConfig,
)
from gwfast_llm.fuse import main as fuse_command
from gwfast_llm.system.errors import FusionError
from gwfast_llm.training.arguments import chunk_of, computes_in_bfloat16, training_arguments
from gwfast_llm.training.checkpoints import last_checkpoint
from gwfast_llm.training.fusion import fuse
from gwfast_llm.training.order import EvenSampler
from gwfast_llm.training.preflight import check_room, one_device
from gwfast_llm.training.trainer import FusionTrainer


def configuration(home, pivot=None, lora=None, objective=None, **train):
    train = {
        "steps": 4,
        "batch_size": 4,
        "lr": 3e-3,
        "log_every": 1,
        "diagnose": 0,
        "eval_every": 0,
        "samples": 0,
        **train,
    }
    return FuseConfig(
        ModelConfig(str(pivot or home / "pivot")),
        DataConfig(str(home / "train.jsonl"), str(home / "held-out.jsonl"), max_length=96, end_token=False),
        [SourceConfig(str(home / "A"), name="A")],
        objective or ObjectiveConfig(source_top_k=0),
        TrainConfig(**train),
        lora or LoraConfig(),
    )


def quiet(done, total):
    """Progress that nobody watches."""


@pytest.fixture
def command(home, tmp_path, capsys):
    """Runs the command in this process; gives exit code and what it complained about."""
    import yaml

    def call(*flags, config=None):
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump((config or configuration(home)).as_dict()))
        code = fuse_command(["--config", str(path), "--runs", str(tmp_path / "runs"), "--name", "r", *flags])
        return code, capsys.readouterr().err

    return call


def unfinished(tmp_path):
    return tmp_path / "runs" / ".r.unfinished"


def one_line(found):
    """The complaint, which is one line behind what bars and libraries print."""
    lines = [line for line in found.replace("\r", "\n").splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, found
    assert "Traceback" not in found
    return lines[0]


# --- a loss that is not finite


def break_at(monkeypatch, step):
    """Let the loss of this step be not a number."""
    real = FusionTrainer._totals

    def totals(self, model, inputs):
        found, outputs = real(self, model, inputs)
        return (found * torch.nan if self.state.global_step == step and model.training else found), outputs

    monkeypatch.setattr(FusionTrainer, "_totals", totals)


def test_the_first_broken_loss_ends_the_run_and_the_last_checkpoint_stays(home, tmp_path, command, monkeypatch):
    break_at(monkeypatch, 5)
    steps = []
    real = FusionTrainer.training_step
    monkeypatch.setattr(FusionTrainer, "training_step", lambda self, *a: steps.append(1) or real(self, *a))
    config = configuration(home, steps=40, log_every=2, save_every=2)
    code, said = command(config=config)
    assert code == 2
    assert "the loss (sft, path) is no longer finite at step 6; lower train.lr" in one_line(said)
    assert len(steps) == 6
    assert last_checkpoint(unfinished(tmp_path) / "checkpoints").name == "checkpoint-4"


def test_a_broken_last_step_is_seen_too(home, monkeypatch):
    break_at(monkeypatch, 3)
    with pytest.raises(FusionError, match="no longer finite at step 4"):
        fuse(configuration(home, log_every=3), quiet)


def test_a_diverged_pivot_is_said_by_the_interval_too(home, tmp_path, monkeypatch):
    real = FusionTrainer.train

    def diverged(self, *arguments, **options):
        with torch.no_grad():
            self.model.get_input_embeddings().weight[:] = torch.nan
        return real(self, *arguments, **options)

    monkeypatch.setattr(FusionTrainer, "train", diverged)
    with pytest.raises(FusionError, match="logits are no longer finite where the GW interval is measured"):
        fuse(configuration(home, interval_every=2), quiet)


def copy_tokenizer(source, target):
    import shutil

    for path in source.glob("tokenizer*"):
        shutil.copy(path, target / path.name)


# --- weights in half precision


# peft 0.21 asks transformers 5.23 by a name that is going to change
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_whole_training_in_half_precision_keeps_small_updates(home, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(home / "pivot").bfloat16()
    model.save_pretrained(tmp_path / "half")
    copy_tokenizer(home / "pivot", tmp_path / "half")
    start = {name: value.float() for name, value in model.state_dict().items()}

    def changed(fused):
        now = fused.model.state_dict()
        return sum(int((now[n].float() != v).sum()) for n, v in start.items()) / sum(v.numel() for v in start.values())

    config = configuration(home, tmp_path / "half", steps=20, lr=2e-5, warmup_steps=0, weight_decay=0.0)
    whole = fuse(config, quiet)
    assert whole.model.dtype == torch.float32
    assert changed(whole) > 0.9
    assert any("held in float32" in note and "saved in float32" in note for note in whole.notes)
    asked = dataclasses.replace(config, pivot=dataclasses.replace(config.pivot, dtype="bfloat16"))
    rounded = fuse(asked, quiet)
    assert rounded.model.dtype == torch.bfloat16
    assert any("rounded to bfloat16 at the end" in note for note in rounded.notes)
    for a, b in zip(whole.model.parameters(), rounded.model.parameters(), strict=True):
        assert torch.equal(a.bfloat16(), b)  # trained alike, rounded once
    adapters = fuse(configuration(home, tmp_path / "half", LoraConfig(rank=2), steps=1), quiet)
    assert adapters.model.dtype == torch.bfloat16  # frozen weights stay as they came
    assert not any("float32" in note for note in adapters.notes)


def test_an_old_gpu_is_not_asked_for_what_it_cannot(monkeypatch):
    assert computes_in_bfloat16(torch.bfloat16)
    assert not computes_in_bfloat16(torch.float16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for able in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able: able)
        assert computes_in_bfloat16(torch.bfloat16) == able


# --- killed, resumed


class Killed(BaseException):
    """Stands for a kill."""


def kill_in(monkeypatch, module, name):
    def stop(*args, **kwargs):
        raise Killed

    monkeypatch.setattr(module, name, stop)


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_kill_at_the_very_end_does_not_train_again(home, tmp_path, command, monkeypatch):
    config = configuration(home, save_every=1, diagnose=2)
    with monkeypatch.context() as patch:
        kill_in(patch, run_folder, "finish")
        with pytest.raises(Killed):
            command(config=config)
    steps = []
    real = FusionTrainer.training_step
    monkeypatch.setattr(FusionTrainer, "training_step", lambda self, *a: steps.append(1) or real(self, *a))
    assert command("--resume", config=config)[0] == 0
    assert not steps
    assert not (tmp_path / "runs" / "r" / "checkpoints").exists()
    monkeypatch.undo()
    found = rows(tmp_path / "runs" / "r")
    assert command("--overwrite", config=config)[0] == 0
    assert rows(tmp_path / "runs" / "r") == found


def test_a_run_killed_before_its_first_checkpoint_keeps_its_diagnosis(home, tmp_path, command, monkeypatch):
    config = configuration(home, save_every=4, diagnose=2)
    folder = unfinished(tmp_path)
    folder.mkdir(parents=True)
    (folder / ".gwfast-run").touch()
    (folder / "config.json").write_text(json.dumps(config.as_dict()))
    assert command("--resume", config=config)[0] == 0
    assert [row["part"] for row in rows(tmp_path / "runs" / "r") if "cosine" in row] == ["sft", "path"]


def test_other_data_or_models_are_not_resumed(home, tmp_path, command, monkeypatch):
    (tmp_path / "mine.jsonl").write_text((home / "train.jsonl").read_text())
    config = configuration(home, save_every=1)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, train=str(tmp_path / "mine.jsonl")))
    with monkeypatch.context() as patch:
        kill_in(patch, FusionTrainer, "stop_if_broken")
        with pytest.raises(Killed):
            command(config=config)
    lines = (tmp_path / "mine.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "mine.jsonl").write_text("".join(lines[:16]))
    code, said = command("--resume", config=config)
    assert code == 2
    assert "data.train changed since this run was started" in one_line(said)
    assert last_checkpoint(unfinished(tmp_path) / "checkpoints") is not None
    (tmp_path / "mine.jsonl").write_text("".join(lines))
    assert command("--resume", config=config)[0] == 0


# --- memory and disk


@pytest.mark.parametrize(
    "problem",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 130.00 MiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_memory_that_runs_out_names_who_and_what_to_do(home, command, tmp_path, monkeypatch, problem):
    def burst(*args, **kwargs):
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(FusionTrainer, "_totals", burst)
        code, said = command()
        assert code == 2
        found = one_line(said)
        for fix in ("train.batch_size", "train.accumulate", "train.chunk", "--lora.rank"):
            assert fix in found
        assert not unfinished(tmp_path).exists()
    with monkeypatch.context() as patch:
        patch.setattr("gwfast_llm.models.checks.AutoModelForCausalLM.from_pretrained", burst)
        assert "pivot: out of memory while its weights are loaded" in one_line(command()[1])
    monkeypatch.setattr("gwfast_llm.training.sources.load_model", burst)
    assert "source A: out of memory while its weights are loaded" in one_line(command()[1])


def test_a_full_disk_keeps_the_checkpoints_and_says_what_is_needed(home, command, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    real = FusionTrainer._save_checkpoint

    def half(self, *args):
        if self.state.global_step == 3:
            folder = tmp_path / "runs" / ".r.unfinished" / "checkpoints" / "checkpoint-3"
            folder.mkdir()
            (folder / "optimizer.pt").write_bytes(b"half")
            raise RuntimeError("[enforce fail at inline_container.cc:603] . unexpected pos 64 vs 0")
        return real(self, *args)

    config = configuration(home, save_every=1)
    with monkeypatch.context() as patch:
        patch.setattr(FusionTrainer, "_save_checkpoint", half)
        code, said = command(config=config)
        assert code == 2
        assert "is full; a checkpoint takes about" in one_line(said)
        assert "the checkpoint of step 2 is kept in" in one_line(said)
        assert "--resume" in one_line(said)
    checkpoints = unfinished(tmp_path) / "checkpoints"
    assert sorted(path.name for path in checkpoints.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]
    with monkeypatch.context() as patch:
        patch.setattr("transformers.PreTrainedModel.save_pretrained", full)
        patch.setattr(FusionTrainer, "_save_checkpoint", lambda *args: None)
        patch.setattr("gwfast_llm.training.saving.MarkCallback.on_save", lambda *args, **kwargs: None)
        code, said = command("--resume", config=config)
        assert code == 2
        assert "is full: the model needs" in one_line(said)
    assert sorted(path.name for path in checkpoints.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]
    assert not (unfinished(tmp_path) / "model").exists()
    assert command("--resume", config=config)[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr("transformers.PreTrainedModel.save_pretrained", full)
        assert command("--overwrite")[0] == 2
    assert not unfinished(tmp_path).exists()
    assert (tmp_path / "runs" / "r" / "model").is_dir()  # the finished run of that name was not touched


def test_room_is_looked_at_before_the_first_step(home, tmp_path, monkeypatch):
    config = configuration(home, save_every=1)
    assert check_room(tmp_path, 1000, 1000, config) == "10.0 kB"
    usage = __import__("shutil").disk_usage(tmp_path)
    monkeypatch.setattr("gwfast_llm.system.disk.shutil.disk_usage", lambda path: usage._replace(free=9000))
    with pytest.raises(
        FusionError, match=r"needs about 10.0 kB for the model and its .*, 9.0 kB are free.*0, which needs 1.0 kB"
    ):
        check_room(tmp_path, 1000, 1000, config)
    with pytest.raises(FusionError, match=r"needs about 10\.0 kB"):  # checkpoints by time need room as well
        check_room(tmp_path, 1000, 1000, configuration(home))
    assert check_room(tmp_path, 1000, 1000, configuration(home, save_every=0)) == "1.0 kB"
    with pytest.raises(FusionError, match=r"another disk$"):  # without checkpoints it would not fit either
        check_room(tmp_path, 10_000, 1000, config)
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "optimizer.pt").write_bytes(bytes(2000))
    assert check_room(tmp_path, 1000, 1000, config) == "10.0 kB"  # will be deleted for a later one


# --- what is reported, and to whom


def test_loggers_are_known_and_installed_before_anything_is_loaded(home, command, monkeypatch):
    monkeypatch.setattr("gwfast_llm.training.prepare.prepare_run", None)
    monkeypatch.setattr("gwfast_llm.training.loggers.get_available_reporting_integrations", lambda: ["tensorboard"])
    base = configuration(home)
    for name, message in (
        ("tensorbord", "'tensorbord' is no logger; expected some of"),
        ("wandb", "pip install wandb"),
    ):
        config = dataclasses.replace(base, train=dataclasses.replace(base.train, report_to=[name]))
        code, said = command(config=config)
        assert code == 2
        assert message in one_line(said)


def test_intervals_are_reported_and_events_lie_outside_the_checkpoints(home, tmp_path, command, monkeypatch):
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, TensorBoardCallback

    written, said = [], {}

    class Board(TensorBoardCallback):
        """TensorBoard without the package: keeps what it is given."""

        def __init__(self):
            self.logging_dir = None
            self.tb_writer = SimpleNamespace(add_text=lambda name, text: said.update({name: text}))

        def on_train_begin(self, args, state, control, **kwargs):
            written.append(self.logging_dir)

        def on_log(self, args, state, control, logs=None, **kwargs):
            written.append((state.global_step, logs))

        def on_train_end(self, args, state, control, **kwargs):
            written.append("end")

    monkeypatch.setitem(INTEGRATION_TO_CALLBACK, "tensorboard", Board)
    monkeypatch.setattr("gwfast_llm.training.loggers.get_available_reporting_integrations", lambda: ["tensorboard"])
    config = configuration(home, interval_every=2, report_to=["tensorboard"])
    assert command(config=config)[0] == 0
    assert written[0] == str(unfinished(tmp_path) / "logs")
    assert "preset: path" in said["configuration"]
    assert [step for step, logs in written[1:-1] if "gw_lower" in logs] == [0, 2, 4]
    assert [step for step, logs in written[1:-1] if "loss" in logs] == [1, 2, 3, 4]


# --- several devices, several processes


def test_several_gpus_without_launcher_are_one(home, tmp_path):
    arguments = training_arguments(configuration(home).train, tmp_path, True, False)
    assert one_device(arguments) == ""
    arguments._n_gpu = 2
    assert arguments.train_batch_size == 8
    assert "1 of 2 GPUs is used; accelerate launch -m gwfast_llm.fuse" in one_device(arguments)
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == 4


def test_every_process_gets_every_batch_and_no_example_twice():
    order = EvenSampler(10, seed=3, multiple=8)
    assert len(order) == 16
    epochs = []
    for epoch in (0, 1, 0):
        order.set_epoch(epoch)
        places = list(order)
        assert sorted(places[:10]) == list(range(10))
        assert places[10:] == [-1] * 6
        epochs.append(places)
    assert epochs[0] == epochs[2] != epochs[1]


def test_the_chunk_is_chosen_by_size(home):
    config = configuration(home)
    model = AutoModelForCausalLM.from_pretrained(home / "pivot")
    assert config.train.chunk == -1
    assert chunk_of(config, model, 96) == 0  # small: whole logits
    assert chunk_of(config, model, 10**6) > 0
    fixed = dataclasses.replace(config, train=dataclasses.replace(config.train, chunk=7))
    assert chunk_of(fixed, model, 10**6) == 7
    aligned = dataclasses.replace(config, objective=ObjectiveConfig(preset="custom", gld_aligned=1.0))
    assert chunk_of(aligned, model, 10**6) == 0
