"""Distributions carried between tokenizers, checked where the right answer is known."""

import itertools

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gwfast_llm.models.logits import top_k
from gwfast_llm.teachers.path import PathMap
from gwfast_llm.teachers.signal import Signal
from gwfast_llm.text.alignment import UNKNOWN, starts_of
from gwfast_llm.text.examples import Example, encode_all


def certain(row, size):
    """Signal of a source that gives the answer tokens (nearly) all its probability."""
    logits = torch.zeros(len(row.answer), size)
    logits[torch.arange(len(row.answer)), torch.tensor(row.answer)] = 40.0
    gold = logits.log_softmax(-1)[torch.arange(len(row.answer)), torch.tensor(row.answer)]
    return Signal(top_k(logits, 0), gold)


def prob_of(targets, k, token):
    return float(targets.probs[k][targets.ids[k] == token].sum())


def test_a_certain_source_makes_certain_targets(tokenizers, examples):
    pivot, *sources = tokenizers
    pivot_rows = encode_all(examples, pivot)
    for source in sources:
        rows = encode_all(examples, source)
        path = PathMap(pivot, source, examples, pivot_rows, rows)
        found = []
        for p, s in zip(pivot_rows, rows, strict=True):
            targets = path.targets(p, s, certain(s, len(source)))
            assert targets.pivot_index[0] == 0
            total = targets.probs.sum(1) + targets.tail
            torch.testing.assert_close(total, torch.ones_like(total))
            found += [prob_of(targets, k, p.answer[i]) for k, i in enumerate(targets.pivot_index.tolist())]
        # what is not certain are counted ambiguities longer than the look-ahead
        assert sum(found) / len(found) > 0.97
        assert sorted(found)[len(found) // 20] > 0.5


def test_equal_tokenizers_leave_the_signal_unchanged(tokenizers, examples):
    pivot = tokenizers[0]
    rows = encode_all(examples, pivot)
    path = PathMap(pivot, pivot, examples, rows, rows)
    logits = torch.randn(len(rows[0].answer), len(pivot), generator=torch.Generator().manual_seed(0))
    gold = logits.log_softmax(-1)[torch.arange(len(logits)), torch.tensor(rows[0].answer)]
    targets = path.targets(rows[0], rows[0], Signal(top_k(logits, 0), gold))
    assert targets.pivot_index.tolist() == targets.source_index.tolist() == list(range(len(logits)))
    dense = torch.zeros_like(logits).scatter(1, targets.ids, targets.probs)
    torch.testing.assert_close(dense, logits.softmax(-1))


def words(vocabulary, pattern):
    """Tokenizer that cuts by a pattern and knows exactly these pieces."""
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token=vocabulary[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=vocabulary[0])


LETTERS = words(["?", "a", "b", "c", "."], ".")
PAIRS = words(["?", "ab", "ac", "bc", ".", "a"], "[abc]{2}|.")


def signal_of(probs, answer):
    logits = torch.tensor(probs).clamp_min(1e-12).log()
    gold = logits.log_softmax(-1)[torch.arange(len(answer)), torch.tensor(answer)]
    return Signal(top_k(logits, 0), gold)


def test_short_source_tokens_are_multiplied_along_the_text():
    """Source letters, pivot pairs: the pivot's 'ab' is P(a) P(b|a); what leaves the text is mapped by its spelling."""
    examples = [Example("a", x + y + ".") for x, y in itertools.product(["ab", "ac", "bc"], repeat=2)]
    pivot_rows, source_rows = encode_all(examples, PAIRS), encode_all(examples, LETTERS)
    path = PathMap(PAIRS, LETTERS, examples, pivot_rows, source_rows)
    row, source = pivot_rows[0], source_rows[0]  # abab.
    #        ?   a    b    c    .
    probs = [
        [0.0, 0.8, 0.2, 0.0, 0.0],
        [0.0, 0.0, 0.7, 0.3, 0.0],
        [0.0, 1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1.0],
    ]
    targets = path.targets(row, source, signal_of(probs, source.answer))
    assert targets.pivot_index.tolist() == [0, 1, 2]
    assert targets.source_index.tolist() == [0, 2, 4]
    ab, ac, bc, stop = 1, 2, 3, 4
    assert prob_of(targets, 0, ab) == pytest.approx(0.56, abs=1e-5)
    assert prob_of(targets, 0, ac) == pytest.approx(0.24, abs=1e-5)
    assert prob_of(targets, 0, bc) == pytest.approx(0.20, abs=1e-5)
    assert prob_of(targets, 1, ab) == pytest.approx(1.0, abs=1e-5)
    assert prob_of(targets, 2, stop) == pytest.approx(1.0, abs=1e-5)


def test_long_source_tokens_are_summed_over_their_first_piece():
    """Source pairs, pivot letters: the pivot's 'a' is P(ab) + P(ac)."""
    examples = [Example("a", x + y + ".") for x, y in itertools.product(["ab", "ac", "bc"], repeat=2)]
    pivot_rows, source_rows = encode_all(examples, LETTERS), encode_all(examples, PAIRS)
    path = PathMap(LETTERS, PAIRS, examples, pivot_rows, source_rows)
    row, source = pivot_rows[0], source_rows[0]
    probs = [[0.0, 0.5, 0.3, 0.2, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]]
    targets = path.targets(row, source, signal_of(probs, source.answer))
    assert targets.pivot_index.tolist() == [0, 2, 4]
    a, b = 1, 2
    assert prob_of(targets, 0, a) == pytest.approx(0.8, abs=1e-5)
    assert prob_of(targets, 0, b) == pytest.approx(0.2, abs=1e-5)


def test_dropped_source_logits_become_tail_not_noise():
    examples = [Example("a", x + y + ".") for x, y in itertools.product(["ab", "ac", "bc"], repeat=2)]
    pivot_rows, source_rows = encode_all(examples, LETTERS), encode_all(examples, PAIRS)
    path = PathMap(LETTERS, PAIRS, examples, pivot_rows, source_rows)
    probs = [[0.0, 0.5, 0.3, 0.2, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]]
    full = signal_of(probs, source_rows[0].answer)
    short = Signal(top_k(torch.tensor(probs).clamp_min(1e-12).log(), 2), full.gold)
    targets = path.targets(pivot_rows[0], source_rows[0], short)
    assert prob_of(targets, 0, 1) == pytest.approx(0.8, abs=1e-5)
    assert float(targets.tail[0]) == pytest.approx(0.2, abs=1e-5)


def fallback_tokenizer(prepend):
    """Letters behind a marked space, other characters byte by byte, as in Llama 2 and Mistral."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for piece in [*(f"<0x{i:02X}>" for i in range(256)), *"▁abcdefghijklmnopqrstuvwxyz."]:
        vocabulary[piece] = len(vocabulary)
    model = models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    marks = [normalizers.Prepend("▁")] if prepend else []
    tokenizer.normalizer = normalizers.Sequence([*marks, normalizers.Replace(" ", "▁")])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.mark.parametrize("prepend", [True, False])
@pytest.mark.parametrize("answer", ["ab 😀 cd.", "abc def.", "a▁😀 cd."])
def test_targets_stay_at_their_positions_where_an_end_is_unknown(prepend, answer):
    """Equal tokenizers: position p learns what the source says at position p, also around characters of many tokens."""
    pivot, source = fallback_tokenizer(prepend), fallback_tokenizer(prepend)
    rows = encode_all([Example("hi", answer)], pivot)
    assert prepend is False or UNKNOWN in rows[0].ends
    path = PathMap(pivot, source, [Example("hi", answer)], rows, rows)
    logits = torch.randn(len(rows[0].answer), len(pivot), generator=torch.Generator().manual_seed(0))
    gold = logits.log_softmax(-1)[torch.arange(len(logits)), torch.tensor(rows[0].answer)]
    for keep in (0, 5):
        targets = path.targets(rows[0], rows[0], Signal(top_k(logits, 9), gold), keep)
        assert len(targets.ids) == len(targets.probs) == len(targets.tail) == len(targets.pivot_index) == len(gold)
        expected = top_k(logits, keep or 9)
        assert torch.equal(targets.ids, expected.ids[targets.pivot_index])
        torch.testing.assert_close(targets.probs, expected.probs[targets.pivot_index])


def test_counting_waits_for_its_first_use_and_reads_a_sample(monkeypatch):
    examples = [Example("a", x + y + ".") for x, y in itertools.product(["ab", "ac", "bc"], repeat=2)] * 20
    pivot_rows, source_rows = encode_all(examples, LETTERS), encode_all(examples, PAIRS)
    probs = [[0.0, 0.5, 0.3, 0.2, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]]
    signal = signal_of(probs, source_rows[0].answer)
    read = []
    monkeypatch.setattr("gwfast_llm.teachers.path.starts_of", lambda ends: read.append(1) or starts_of(ends))
    monkeypatch.setattr("gwfast_llm.teachers.path.COUNTED", 50)

    path = PathMap(LETTERS, PAIRS, examples, pivot_rows, source_rows)
    matched = path.matched(pivot_rows[0], source_rows[0], signal)
    assert not read  # parts that only compare positions never count
    assert (matched.ids.shape, matched.tail.tolist()) == ((3, 0), [1.0] * 3)
    targets = path.targets(pivot_rows[0], source_rows[0], signal)
    assert len(read) == 10  # five tokens each, not all 180 examples
    assert torch.equal(matched.pivot_index, targets.pivot_index)
    again = PathMap(LETTERS, PAIRS, examples, pivot_rows, source_rows).targets(pivot_rows[0], source_rows[0], signal)
    assert torch.equal(targets.probs, again.probs)  # the sample is drawn with a fixed seed
