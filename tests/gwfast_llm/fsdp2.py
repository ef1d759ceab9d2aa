"""Run by two processes on CPUs: the fuse command under accelerate's own FSDP2.

accelerate reads the FSDP settings only where its processes have GPUs.  Here they are told that they have; devices,
tensors and communication (gloo) stay those of the CPU, and everything after that one decision runs as it would.
"""

import sys

import torch
from accelerate.state import DistributedType, PartialState

torch.set_num_threads(1)
begin = PartialState.__init__


def begin_with_gpus(state, *arguments, **options):
    """Begin as always, and take several CPUs for several GPUs."""
    begin(state, *arguments, **options)
    if state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU


PartialState.__init__ = begin_with_gpus

from gwfast_llm import train  # noqa: E402
from gwfast_llm.fuse import main  # noqa: E402

gather = train._whole_model


def spy(trainer, config):
    """Say what the trainer's model was made of, before it is gathered."""
    version = "FSDP2" if trainer.accelerator.is_fsdp2 else "other"
    kinds = {type(p).__name__ for p in trainer.model_wrapped.parameters()}
    if trainer.is_world_process_zero():
        print(f"SHARDED {version} {' '.join(sorted(kinds))}", file=sys.stderr, flush=True)
    return gather(trainer, config)


train._whole_model = spy
sys.exit(main(sys.argv[1:]))
