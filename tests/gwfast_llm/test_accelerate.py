"""The accelerate configurations that are shipped: accelerate reads them, and they say what the docs say."""

import os
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

FOLDER = Path(__file__).parents[2] / "examples" / "accelerate"
FILES = sorted(FOLDER.glob("*.yaml"))


def launch_arguments(name):
    parsed = launch_command_parser().parse_args(["--config_file", str(FOLDER / name), "script.py"])
    return _validate_launch_command(parsed)[0]


def known(name, section):
    """Fields of a section, each of them an option of the launcher; a misspelt one would be dropped in silence."""
    fields = list(yaml.safe_load((FOLDER / name).read_text())[section])
    assert set(fields) <= set(vars(launch_command_parser().parse_args(["script.py"])))
    return fields


@pytest.fixture
def clean(monkeypatch):
    """No settings of an outer launch; those that accelerate writes are taken back."""
    for name in list(os.environ):
        if name.startswith(("ACCELERATE_", "FSDP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    return monkeypatch


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_accelerate_knows_every_field(path):
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)  # unknown fields would have been refused
    content = yaml.safe_load(path.read_text())
    assert content["distributed_type"] == config.distributed_type
    assert (config.num_machines, config.num_processes, config.mixed_precision) == (1, 8, "bf16")


def test_files_are_these():
    assert [path.name for path in FILES] == ["fsdp2.yaml", "zero3.yaml"]


def test_fsdp_is_version_two_with_whole_state_dicts(clean):
    arguments = launch_arguments("fsdp2.yaml")
    known("fsdp2.yaml", "fsdp_config")
    for name, value in prepare_multi_gpu_env(arguments).items():
        if name.startswith(("ACCELERATE_", "FSDP_")):
            clean.setenv(name, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    assert plugin.cpu_ram_efficient_loading
    assert type(plugin.cpu_offload).__name__ == "OffloadPolicy"  # which offloads nothing


def test_zero_is_stage_three_and_saves_whole_weights(clean):
    arguments = launch_arguments("zero3.yaml")
    arguments.deepspeed_fields_from_accelerate_config = ",".join(known("zero3.yaml", "deepspeed_config"))
    _, found = prepare_deepspeed_cmd_env(arguments)
    assert found["ACCELERATE_USE_DEEPSPEED"] == "true"
    assert found["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"
    assert found["ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL"] == "true"
    assert found["ACCELERATE_DEEPSPEED_ZERO3_INIT"] == "false"
    assert found["ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE"] == "none"
