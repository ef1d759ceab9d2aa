"""Routing and batches: the same text is compared, every source is asked once, padding carries no mass."""

import dataclasses

import pytest
import torch

from gwfast_llm.config import ObjectiveConfig, SourceConfig
from gwfast_llm.models.loading import load_tokenizer
from gwfast_llm.models.logits import Selection, TopK, select
from gwfast_llm.teachers.desk import RecentTargets, SourceDesk, path_maps
from gwfast_llm.teachers.path import Targets
from gwfast_llm.teachers.signal import Signal, comparable_losses
from gwfast_llm.terms.collate import FusionCollator
from gwfast_llm.terms.graph import node_weights
from gwfast_llm.text.examples import encode_all
from gwfast_llm.training.sources import online_source


class Counted:
    """A source that counts how often it is asked."""

    def __init__(self, source):
        self.name, self.tokenizer, self.rows = source.name, source.tokenizer, source.rows
        self._source = source
        self.asked = 0

    def signals(self, indices):
        self.asked += len(indices)
        return self._source.signals(indices)


def desk_of(home, examples, routing, max_length=None):
    """Both sources over all examples, counted."""
    configs = [SourceConfig(str(home / n), name=n) for n in "AB"]
    tokenizers = [load_tokenizer(c) for c in configs]
    pivot = load_tokenizer(SourceConfig(str(home / "pivot")))
    rows = encode_all(examples, pivot, max_length)
    sources = [
        Counted(online_source(c, t, encode_all(examples, t, max_length), 0)) for c, t in zip(configs, tokenizers)
    ]
    return SourceDesk(rows, sources, [1.0, 1.0], path_maps(pivot, rows, sources, examples), routing, 0), sources


@pytest.mark.parametrize("routing", ["mince", "all"])
def test_every_source_is_asked_once_a_batch(home, examples, routing):
    desk, sources = desk_of(home, examples, routing)
    desk.items(range(8))
    assert [source.asked for source in sources] == [8, 8]


def said(*gold):
    values = torch.tensor(gold)
    return Signal(TopK(values[:, None], torch.zeros(len(gold), 1, dtype=torch.long), torch.zeros(len(gold))), values)


def test_cut_answers_are_compared_on_the_bytes_both_have():
    # ab|cd|ef whole, a|b|cd cut: the second has said less, not better
    long, short = said(-1.0, -1.0, -1.0), said(-0.8, -0.8, -0.8)
    assert comparable_losses([long, short], [[2, 4, 6], [1, 2, 4]]) == pytest.approx([2.0, 2.4])
    assert comparable_losses([long, short], [[2, 4, 6], [1, 2, 6]]) == pytest.approx([3.0, 2.4])
    assert comparable_losses([long, short], [[2, 4, 6], [1, 3, -1]]) == pytest.approx([3 / 6, 2.4 / 3])
    assert comparable_losses([long], [[2, 4, 6]]) == [long.nll]


def test_routing_follows_the_common_text(home, examples):
    desk, sources = desk_of(home, examples, "mince", max_length=30)
    cut = [i for i in range(len(examples)) if sources[1].rows[i].cut and not sources[0].rows[i].cut]
    assert cut
    for i, route in zip(cut, desk.routes(cut), strict=True):
        signals = [source.signals([i])[0] for source in sources]
        common = max(set(sources[0].rows[i].ends) & set(sources[1].rows[i].ends))
        losses = [
            -sum(float(g) for g, end in zip(signal.gold, source.rows[i].ends, strict=True) if end <= common)
            for signal, source in zip(signals, sources, strict=True)
        ]
        assert route == [losses.index(min(losses))]


def test_sources_of_different_width_put_no_mass_on_padding(home, examples):
    objective = ObjectiveConfig(
        preset="custom", gld=1.0, top_k=100, source_top_k=0, gld_weights="softmax", gld_nodes="vocab", routing="all"
    )
    desk, sources = desk_of(home, examples, "all")
    batch = FusionCollator(desk.pivot_rows, 0, objective, desk)([0, 1])
    size = len(sources[1].tokenizer)
    its = batch.own["gld"]
    kept, mask = TopK(its.values[:, 1], its.ids[:, 1], its.logsumexp[:, 1]), its.mask[:, 1]
    assert kept.values.shape[-1] > size
    mass = node_weights(kept, mask, "softmax")[mask]
    assert float(mass[:, size:].sum()) == 0
    torch.testing.assert_close(mass[:, :size].sum(-1), torch.ones(len(mass)))


def test_entropy_of_logits_with_minus_infinity():
    z = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    barred = torch.cat([z, torch.tensor([[-torch.inf]])], 1)
    kept = [select(x, Selection(3, "entropy", 1.0)) for x in (z, barred)]
    assert torch.isfinite(kept[1].values).any()
    assert torch.equal(kept[0].values, kept[1].values)


def test_targets_used_last_are_kept():
    def targets(size):
        where = torch.arange(size)
        return Targets(where, where, torch.zeros(size, 2, dtype=torch.long), torch.zeros(size, 2), torch.zeros(size))

    one = targets(10)
    kept = RecentTargets(room=3 * 440)
    for i in range(3):
        kept.put((0, i), one)
    assert kept.bytes == 3 * 440
    kept.get((0, 0))
    kept.put((0, 3), one)
    assert kept.get((0, 1)) is None  # unused for longest
    assert kept.get((0, 0)) is one
    assert kept.bytes == 3 * 440
    kept.put((0, 4), targets(100))  # larger than the room alone: kept until the next one
    assert kept.get((0, 3)) is None


def test_a_part_without_carried_targets_has_the_same_pairs(home, examples):
    desk, _ = desk_of(home, examples, "mince")
    plain = ObjectiveConfig(preset="custom", uld=1.0, source_top_k=0)
    both = dataclasses.replace(plain, path=1.0)
    batches = [FusionCollator(desk.pivot_rows, 0, o, desk)(range(6)) for o in (plain, both)]
    one, two = batches
    assert torch.equal(one.pairs.index, two.pairs.index)
    assert torch.equal(one.pairs.mask, two.pairs.mask)
    assert torch.equal(one.source_probs, two.source_probs)
    assert one.carried is None
    assert two.carried is not None
