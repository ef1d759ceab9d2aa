"""Run by two processes on CPUs: the fuse command, spared what CPUs cannot have, and killed where asked.

``AS_GPUS``: accelerate reads the FSDP settings only where its processes have GPUs, so they are told that they have;
devices, tensors and communication (gloo) stay those of the CPU, and everything after that one decision runs as it
would.  ``SHARD_ALL``: DeepSpeed keeps whole what is small or soon used again, all of a small model; here nothing.
``DIE_AT``: the step before which every process kills itself.  ``STOP_AT``: that before which the second one is asked
to stop.
"""

import os
import signal
import sys

import torch
from accelerate.state import DistributedType, PartialState
from accelerate.utils import DeepSpeedPlugin

torch.set_num_threads(1)
begin = PartialState.__init__
configure = DeepSpeedPlugin.__post_init__


def begin_with_gpus(state, *arguments, **options):
    """Begin as always, and take several CPUs for several GPUs."""
    begin(state, *arguments, **options)
    if state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU


def configure_for_all(plugin):
    """Configure as always, and keep no parameter whole."""
    configure(plugin)
    for name in ("param_persistence_threshold", "max_live_parameters", "max_reuse_distance"):
        plugin.deepspeed_config["zero_optimization"][f"stage3_{name}"] = 0


if os.environ.get("AS_GPUS"):
    PartialState.__init__ = begin_with_gpus
if os.environ.get("SHARD_ALL"):
    DeepSpeedPlugin.__post_init__ = configure_for_all

from gwfast_llm.fuse import main  # noqa: E402
from gwfast_llm.training import fusion  # noqa: E402
from gwfast_llm.training.trainer import FusionTrainer  # noqa: E402

gather = fusion.whole_model
collect = FusionTrainer.get_batch_samples


def spy(trainer, config):
    """Say what the trainer's model was made of, before it is gathered."""
    whole = trainer.model_wrapped
    kinds = {type(p).__name__ for p in whole.parameters()}
    stage = f"ZeRO-{whole.zero_optimization_stage()}" if trainer.is_deepspeed_enabled else ""
    version = "FSDP2" if trainer.accelerator.is_fsdp2 else stage or "copies"
    held = sum(p.numel() for p in whole.parameters())
    if trainer.is_world_process_zero():
        print(f"SHARDED {version} {' '.join(sorted(kinds))} {held}", file=sys.stderr, flush=True)
    return gather(trainer, config)


def collect_or_die(trainer, *arguments):
    """Be killed where asked, as by kill -9, or asked to stop, as by kill."""
    step = str(trainer.state.global_step)
    if step == os.environ.get("DIE_AT"):
        os.kill(os.getpid(), signal.SIGKILL)
    if step == os.environ.get("STOP_AT") and trainer.args.process_index == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return collect(trainer, *arguments)


fusion.whole_model = spy
if os.environ.get("DIE_AT") or os.environ.get("STOP_AT"):
    FusionTrainer.get_batch_samples = collect_or_die
sys.exit(main(sys.argv[1:]))
