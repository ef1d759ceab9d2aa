"""Two processes on CPUs give what one gives: copied (DDP), sharded by FSDP2 or DeepSpeed; also after a kill."""

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from safetensors.torch import load_file

from fusing import FORKED, LAUNCHED, agrees, command, config_file, launched, records, run, weights
from gwfast_llm.config import ModelConfig
from gwfast_llm.fuse import main as fuse_command
from gwfast_llm.models.loading import load_to_train

HERE = Path(__file__).parent
AROUND = HERE / "around.py"
CHUNKED = ["--train.chunk", "9", "--train.packing", "true"]


def settings(kind):
    """What `accelerate launch` would tell two processes about our file, in single precision."""
    if kind == "copied":
        return {}
    if kind == "zero3":
        pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
    file = HERE.parents[1] / "examples" / "accelerate" / f"{kind}.yaml"
    line = ["--config_file", str(file), "--num_processes", "2", "--mixed_precision", "no", "script.py"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(line))
    if kind == "fsdp2":
        found = {**prepare_multi_gpu_env(arguments), "AS_GPUS": "1"}
    else:
        fields = yaml.safe_load(file.read_text())["deepspeed_config"]
        arguments.deepspeed_fields_from_accelerate_config = ",".join(fields)
        found = {**prepare_deepspeed_cmd_env(arguments)[1], "DS_ACCELERATOR": "cpu", "SHARD_ALL": "1"}
    return {n: v for n, v in found.items() if n.startswith(("ACCELERATE_", "FSDP_", "AS_", "DS_", "SHARD_"))}


# the copies are asked to stop between two checkpoints and two logged losses, one of them only; the others are killed
KINDS = {
    "copied": ("copies Parameter", [], {"STOP_AT": "5"}, "a signal at step 5: the checkpoint of step 5 is kept in"),
    "fsdp2": ("FSDP2 DTensor", CHUNKED, {"DIE_AT": "6"}, "SIGKILL"),
    "zero3": ("ZeRO-3 Parameter 0", CHUNKED, {"DIE_AT": "6"}, "SIGKILL"),
}


def start(home, folder, kind, name, *more, launcher=FORKED, **variables):
    """A run of two processes: copied, or sharded by our file, in chunks of packed rows."""
    flags = ["--train.save_every", "4", *KINDS[kind][1], *more]
    return launched(home, folder, name, AROUND, flags, launcher, **settings(kind), **variables)


def ended_and_resumed(home, folder, kind, launcher=FORKED):
    """End a run of two processes before its last step and go on with it."""
    made_of, _, how, said = KINDS[kind]
    ended = start(home, folder, kind, "ended", launcher=launcher, **how)
    assert ended.returncode != 0
    assert said in ended.stderr, ended.stderr[-3000:]
    assert not (folder / "ended").exists()
    done = start(home, folder, kind, "ended", "--resume", launcher=launcher)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"SHARDED {made_of}" in done.stderr
    return folder / "ended"


@pytest.mark.parametrize(
    "kind", [k if k == "fsdp2" else pytest.param(k, marks=pytest.mark.nightly) for k in KINDS]
)  # half a minute each, a minute and a half with ZeRO-3
def test_two_processes_that_were_ended_and_resumed_give_the_losses_of_one(home, tmp_path, whole_run, kind):
    resumed = ended_and_resumed(home, tmp_path, kind)
    agrees(whole_run, resumed)
    if kind == "copied":  # no interval is measured of shards
        ends = [[row["gw_upper"] for row in records(run) if "gw_upper" in row] for run in (whole_run, resumed)]
        assert ends[1] == pytest.approx(ends[0], rel=1e-4)


@pytest.mark.parametrize("kind", [k if k == "copied" else pytest.param(k, marks=pytest.mark.nightly) for k in KINDS])
def test_several_objectives_one_after_another_give_what_each_gives_alone(home, tmp_path, whole_run, kind):
    done = start(home, tmp_path, kind, "both", "--compare", "sft,path")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count(f"SHARDED {KINDS[kind][0]}") == 2
    both, alone = tmp_path / "both", records(whole_run)
    assert {path.name for path in (both / "models").iterdir()} == {"sft", "path"}
    losses = [row["loss"] for row in records(both) if row.get("objective") == "path" and "loss" in row]
    assert losses == pytest.approx([row["loss"] for row in alone if "loss" in row], rel=1e-4)
    found = load_file(both / "models" / "path" / "model.safetensors")
    for name, value in weights(whole_run).items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)
    assert "| path | " in (both / "report.md").read_text()


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_that_were_ended_resume_to_the_same_bits(home, tmp_path, kind):
    whole = start(home, tmp_path, kind, "whole", launcher=LAUNCHED)
    assert whole.returncode == 0, whole.stderr[-3000:]
    resumed = ended_and_resumed(home, tmp_path, kind, LAUNCHED)
    first, second = weights(tmp_path / "whole"), weights(resumed)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert records(tmp_path / "whole") == records(resumed)


def test_a_half_precision_pivot_is_loaded_once_and_trained_in_float32(home, tmp_path):
    """FSDP2 sends the weights of the first process; bfloat16 products round to 8 binary digits."""
    flags = ["--pivot.dtype", "bfloat16", "--train.packing", "true"]
    one = ["--config", config_file(tmp_path / "one.yaml", home, 12), "--runs", tmp_path, "--name", "one", *flags]
    assert fuse_command(list(map(str, one))) == 0
    done = launched(home, tmp_path, "two", AROUND, flags, **settings("fsdp2"))
    assert done.returncode == 0, done.stderr[-3000:]
    agrees(tmp_path / "one", tmp_path / "two", rel=1e-3, atol=2**-7)


def test_a_process_that_is_sent_its_weights_holds_none(home, monkeypatch):
    config = ModelConfig(str(home / "pivot"), dtype="bfloat16")
    whole, came = load_to_train(config, adapters=False)
    for name in ("ACCELERATE_USE_FSDP", "FSDP_CPU_RAM_EFFICIENT_LOADING"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("RANK", "1")
    empty, _ = load_to_train(config, adapters=False)
    assert came == torch.bfloat16
    assert sum(p.untyped_storage().nbytes() for p in empty.parameters()) == 4 * len(list(empty.parameters()))
    assert len({p.data_ptr() for p in empty.parameters()}) == len(list(empty.parameters()))
    for (name, a), b in zip(whole.named_parameters(), empty.parameters(), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
    for (name, a), b in zip(whole.named_buffers(), empty.buffers(), strict=True):
        assert torch.equal(a, b), name
    monkeypatch.setenv("RANK", "0")
    first, _ = load_to_train(config, adapters=False)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), first.parameters(), strict=True))


@pytest.mark.nightly
def test_adapters_on_shards_give_the_losses_of_one(home, tmp_path):
    """The output layer is frozen and sharded by DeepSpeed, its logits made in chunks."""
    flags = [*CHUNKED, "--lora.rank", "2", "--train.gradient_checkpointing", "true"]
    one = command("--config", config_file(tmp_path / "one.yaml", home, 12), "--runs", tmp_path, "--name", "one", *flags)
    assert one.returncode == 0, one.stderr[-3000:]
    done = launched(home, tmp_path, "two", AROUND, flags, **settings("zero3"))
    assert done.returncode == 0, done.stderr[-3000:]
    agrees(tmp_path / "one", tmp_path / "two")


@pytest.mark.nightly
def test_sharded_model_gives_the_losses_of_a_whole_one(home):
    """FSDP over two processes (gloo), whole logits and chunks, against one process."""

    def train(shards):
        launcher = [sys.executable]
        if shards > 1:
            launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", shards]
        done = run([*launcher, HERE / "sharded.py", home, shards])
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(next(text for text in done.stdout.splitlines() if text.startswith("{")))

    one, two = train(1), train(2)
    for chunk in ("0", "9"):
        assert one[chunk]["kinds"] == ["Parameter"]
        assert two[chunk]["kinds"] == ["DTensor"]
        assert two[chunk]["losses"] == pytest.approx(one["0"]["losses"], rel=1e-4)
