"""Run by two processes: three steps of the objective on a model sharded by FSDP; prints losses and a weight norm."""

import json
import sys

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from gwfast_llm.config import DataConfig, ModelConfig, ObjectiveConfig, SourceConfig
from gwfast_llm.models.loading import load_model, load_tokenizer
from gwfast_llm.models.output_layer import ChunkedHead
from gwfast_llm.student.chunked import ChunkedStudent
from gwfast_llm.student.dense import DenseStudent
from gwfast_llm.student.forward import request_of
from gwfast_llm.teachers.desk import SourceDesk, path_maps
from gwfast_llm.teachers.online import Remembered
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.objective import Objective
from gwfast_llm.text.examples import encode_all
from gwfast_llm.text.reading import read_examples
from gwfast_llm.training.sources import online_source

OBJECTIVE = ObjectiveConfig(preset="custom", path=1.0, uld=0.5, gld=0.1, hellinger=0.2, hybrid=0.4, source_top_k=0)


def main(home: str, shards: int) -> None:
    """Train with whole logits and in chunks; the first process prints what it found."""
    torch.set_num_threads(1)
    if shards > 1:
        dist.init_process_group("gloo")
    rank = dist.get_rank() if shards > 1 else 0
    found = {chunk: train(home, chunk, shards, rank) for chunk in (0, 9)}
    if rank == 0:
        print(json.dumps(found))
    if shards > 1:
        dist.destroy_process_group()


def train(home: str, chunk: int, shards: int, rank: int) -> dict:
    """Train three steps on eight examples each, split over the processes."""
    examples = read_examples(f"{home}/train.jsonl", DataConfig(""))
    pivot = ModelConfig(f"{home}/pivot")
    tokenizer = load_tokenizer(pivot)
    rows = encode_all(examples, tokenizer)
    sources = []
    for name in "AB":
        own = load_tokenizer(SourceConfig(f"{home}/{name}"))
        sources.append(
            Remembered(online_source(SourceConfig(f"{home}/{name}", name=name), own, encode_all(examples, own), 0))
        )
    desk = SourceDesk(rows, sources, [1.0, 1.0], path_maps(tokenizer, rows, sources, examples), "mince", 0)
    collate = FusionCollator(rows, 0, OBJECTIVE, desk)
    model = load_model(pivot)
    if shards > 1:
        mesh = init_device_mesh("cpu", (shards,))
        for layer in model.model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    head = ChunkedHead(model, chunk) if chunk else None
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    terms = Objective.of(OBJECTIVE, 1)
    losses = []
    for step in range(3):
        whole = list(range(8 * step, 8 * step + 8))
        counts = terms.counts(collate(whole))
        batch = collate(whole[rank::shards])
        given = batch.model_inputs
        if head is None:
            student = DenseStudent(model(**given).logits)
        else:
            request, columns = request_of(batch, terms)
            head.pending = request
            model(**given)
            student = ChunkedStudent(request, head.answer(), columns)
        parts = terms.values(student, batch)
        loss = sum(w * p.total / c for w, p, c in zip(terms.weights, parts, counts, strict=True))
        optimiser.zero_grad()
        (loss * shards).backward()  # gradients are averaged over processes
        optimiser.step()
        value = loss.detach()
        if shards > 1:
            dist.all_reduce(value)
        losses.append(float(value))
    kinds = sorted({type(p).__name__ for p in model.parameters()})
    return {"losses": losses, "kinds": kinds}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
