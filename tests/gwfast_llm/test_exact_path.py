"""Targets carried along the text against exact likelihoods: sums over all texts that a source can go on to write.

The source's language is a list of texts of equal probability, cut by its own tokenizer, so every conditional
probability is a count: of the source's next token, and of the token that the pivot's tokenizer cuts there.
"""

from collections import Counter

import pytest
import torch

from gwfast_llm.models.logits import TopK
from gwfast_llm.teachers.path import PathMap
from gwfast_llm.teachers.signal import Signal
from gwfast_llm.text.alignment import starts_of
from gwfast_llm.text.examples import Example, encode_all
from gwfast_llm.tiny.tasks import draw_each

COUNT = 24


def said(sequences, own):
    """What a source of this language says along one of its texts."""
    following = [Counter(s[k] for s in sequences if s[:k] == own[:k] and len(s) > k) for k in range(len(own))]
    width = max(map(len, following))
    values = torch.full((len(own), width), -torch.inf, dtype=torch.float64)
    ids = torch.zeros(len(own), width, dtype=torch.long)
    for k, counts in enumerate(following):
        for place, (token, count) in enumerate(counts.most_common()):
            values[k, place], ids[k, place] = count / counts.total(), token
    gold = torch.tensor([c[token] / c.total() for c, token in zip(following, own)], dtype=torch.float64)
    return Signal(TopK(values.clamp_min(0).log(), ids, torch.zeros(len(own), dtype=torch.float64)), gold.log())


def distances(pivot, source, task):
    """Total variation between carried and exact distribution at every matched position."""
    examples = [Example("q:", problem.response) for problem in draw_each(task, COUNT, seed=5)]
    ours, theirs = encode_all(examples, pivot), encode_all(examples, source)
    carry, sequences = PathMap(pivot, source, examples, ours, theirs), [tuple(row.answer) for row in theirs]
    found = []
    for row, other, own in zip(ours, theirs, sequences):
        targets = carry.targets(row, other, said(sequences, own))
        for k, (p, s) in enumerate(zip(targets.pivot_index.tolist(), targets.source_index.tolist())):
            byte = starts_of(row.ends)[p]
            exact = Counter(
                candidate.answer[starts_of(candidate.ends).index(byte)]
                for candidate, sequence in zip(ours, sequences)
                if sequence[:s] == own[:s] and byte in starts_of(candidate.ends)
            )
            exact = {token: count / exact.total() for token, count in exact.items()}
            carried = dict(zip(targets.ids[k].tolist(), targets.probs[k].tolist()))
            found.append(sum(abs(exact.get(t, 0) - carried.get(t, 0)) for t in exact.keys() | carried.keys()) / 2)
    return found


@pytest.mark.parametrize("task", ["M", "S"])
def test_from_longer_tokens_the_carried_targets_are_exact(tokenizers, task):
    pivot, longer, _ = tokenizers
    assert max(distances(pivot, longer, task)) < 1e-6


def test_from_shorter_tokens_they_are_near(tokenizers):
    pivot, _, shorter = tokenizers
    found = distances(pivot, shorter, "M")
    assert sum(found) / len(found) < 0.04
    assert sum(x > 0.01 for x in found) / len(found) < 0.25  # most positions are exact, some are not
