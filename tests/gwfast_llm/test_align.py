import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from gwfast_llm.text.alignment import UNKNOWN, byte_ends, matched_starts, starts_of, vocabulary_bytes
from gwfast_llm.text.examples import Example, encode_all

TEXTS = ["naïve café", "日本語 text", "a🙂b 👩‍👩‍👧", "tabs\tand\nlines", "  leading  spaces ", "ß€𝄞"]


def byte_level(vocab_size, trim, prefix=False):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="module")
def pair():
    """Two byte-level tokenizers that differ in size and in whether offsets leave out the leading space."""
    return byte_level(270, trim=True), byte_level(330, trim=False)


@given(text=st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_ends_of_byte_level_tokens_are_exact_for_any_text(pair, text):
    for tokenizer in pair:
        row = encode_all([Example("a", text)], tokenizer)[0]
        spelled = vocabulary_bytes(tokenizer)
        data = text.encode()
        cut = [data[a:b] for a, b in zip(starts_of(row.ends), row.ends, strict=True)]
        assert cut == [spelled[i] for i in row.answer]
        assert row.ends[-1] == len(data)


def test_shared_characters_without_spelling_are_unknown():
    # three tokens of one four-byte character, as a tokenizer without byte alphabet reports them
    ends = byte_ends("a🙂b", [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)], [None] * 5)
    assert ends == [1, UNKNOWN, UNKNOWN, 5, 6]


def test_matched_starts_never_point_inside_a_character():
    assert matched_starts([1, UNKNOWN, UNKNOWN, 5, 6], [1, 3, 5, 6]) == [(0, 0), (1, 1), (4, 3)]


def test_hand_made_match():
    # ab|cde|f against a|b|cdef: starts 0,2,5 against 0,1,2
    assert matched_starts([2, 5, 6], [1, 2, 6]) == [(0, 0), (1, 2)]


def test_closing_tokens_line_up(pair):
    rows = [encode_all([Example("x", "naïve 日本")], t, end_token=t.eos_token_id)[0] for t in pair]
    matches = matched_starts(rows[0].ends, rows[1].ends)
    assert matches[-1] == (len(rows[0].answer) - 1, len(rows[1].answer) - 1)


def test_truncated_ends_still_match(pair):
    first, second = pair
    full = encode_all([Example("x", "naïve café text")], first)[0]
    cut = encode_all([Example("x", "naïve café text")], second, max_length=4)[0]
    assert len(cut.ids) == 4
    matches = matched_starts(full.ends, cut.ends)
    assert matches
    assert all(starts_of(full.ends)[i] == starts_of(cut.ends)[j] for i, j in matches)


@given(cuts=st.tuples(st.sets(st.integers(1, 11)), st.sets(st.integers(1, 11))))
def test_matches_are_exactly_the_common_starts(cuts):
    ends = [[*sorted(c), 12] for c in cuts]
    matches = matched_starts(*ends)
    common = set(starts_of(ends[0])) & set(starts_of(ends[1]))
    assert {starts_of(ends[0])[i] for i, _ in matches} == common
    assert all(starts_of(ends[0])[i] == starts_of(ends[1])[j] for i, j in matches)
