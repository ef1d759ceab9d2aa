"""Marks are never text: by the tokenizer's table, by its template, and across tokenizers."""

import itertools

import pytest
import torch

from gwfast_llm.config import DataConfig, ObjectiveConfig
from gwfast_llm.models.logits import top_k
from gwfast_llm.teachers.first_piece import FirstPiece
from gwfast_llm.teachers.path import PathMap
from gwfast_llm.teachers.signal import Signal, comparable_losses
from gwfast_llm.text.examples import Example, end_token_of, prepare, spelling
from gwfast_llm.text.special_tokens import closing_token, mark_map, marks, stop_tokens
from shaped import gemma, llama2, llama3, phi, qwen

SHAPES = {"qwen": qwen, "llama3": llama3, "gemma": gemma, "phi": phi}
CLOSING = {"qwen": "<|im_end|>", "llama3": "<|eot_id|>", "gemma": "<end_of_turn>", "phi": "<|end|>"}
TALKS = [Example("", answer, messages=(("user", "go"),)) for answer in ("going ok", "a ring", "ok ok ing")]


@pytest.fixture(scope="module")
def shapes():
    return {name: make() for name, make in SHAPES.items()} | {"llama2": llama2()}


@pytest.mark.parametrize("name", SHAPES)
def test_the_closing_token_is_what_the_template_writes_after_an_answer(shapes, name):
    tokenizer = shapes[name]
    assert tokenizer.convert_ids_to_tokens(closing_token(tokenizer)) == CLOSING[name]
    assert tokenizer.convert_ids_to_tokens(end_token_of(tokenizer, chat=True)) == CLOSING[name]
    assert end_token_of(tokenizer, chat=False) == tokenizer.eos_token_id
    rows = prepare(TALKS, [tokenizer], DataConfig("")).rows[0]
    for row in rows:
        assert row.labels[-1] == closing_token(tokenizer)  # trained on
        assert spelling(tokenizer)[row.labels[-1]] is None


def test_every_flagged_token_is_a_mark_and_text_is_none(shapes):
    assert len(marks(shapes["llama3"])) == 256
    assert "<|reserved_special_token_200|>" in marks(shapes["llama3"]).values()
    assert {"<think>", "</tool_call>", "<|fim_prefix|>"} <= set(marks(shapes["qwen"]).values())
    assert "<table>" not in marks(shapes["gemma"]).values()  # added, and text all the same
    table = spelling(shapes["gemma"])
    assert table[shapes["gemma"].convert_tokens_to_ids("<table>")] == b"<table>"
    assert not any(
        piece and piece.startswith(b"<|") for name in ("qwen", "llama3", "phi") for piece in spelling(shapes[name])
    )


def test_a_changed_template_is_seen(shapes):
    tokenizer = qwen()
    assert closing_token(tokenizer) == tokenizer.eos_token_id
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    assert closing_token(tokenizer) is None
    assert end_token_of(tokenizer, chat=True) == tokenizer.eos_token_id
    between = "{{ m.role }}{{ m.content }}{{ '' if loop.last else '<|im_end|><|im_start|>' }}"
    between = f"{{% for m in messages %}}{between}{{% endfor %}}"
    tokenizer.chat_template = between
    assert tokenizer.convert_ids_to_tokens(closing_token(tokenizer)) == "<|im_end|>"
    tokenizer.chat_template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    assert closing_token(tokenizer) is None  # the mark of the next turn is no end of this one


def test_a_plain_token_of_the_vocabulary_that_the_template_writes_is_found():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    model = models.WordLevel({"?": 0, "a": 1, "\x02": 2, "<end>": 3, "<stop>": 4}, unk_token="?")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?", eos_token="<stop>")
    made.chat_template = "{% for m in messages %}{{ m.content }} <end> {% endfor %}"
    assert closing_token(made) == 3
    assert spelling(made)[3] is None


def encoded(pivot, source, examples=TALKS, **more):
    done = prepare(examples, [pivot, source], DataConfig("", **more))
    return done.rows


def speaking(row, token, size, at):
    """Signal of a source that is sure of its answer, and at one place of another token."""
    said = torch.tensor(row.answer)
    said[at] = token
    logits = torch.zeros(len(said), size)
    logits[torch.arange(len(said)), said] = 40.0
    gold = logits.log_softmax(-1)[torch.arange(len(said)), torch.tensor(row.answer)]
    return Signal(top_k(logits, 0), gold)


@pytest.mark.parametrize(("one", "two"), list(itertools.permutations(SHAPES, 2)))
def test_an_end_of_turn_is_carried_to_the_end_of_turn_and_never_to_a_character(shapes, one, two):
    pivot, source = shapes[one], shapes[two]
    rows = encoded(pivot, source)
    path = PathMap(pivot, source, TALKS, *rows)
    p, s = rows[0][0], rows[1][0]
    close = closing_token(source)
    for at in (-1, 0):  # after the answer, and where it could begin
        found = path.targets(p, s, speaking(s, close, len(source), at))
        k = len(found.ids) - 1 if at else 0
        assert found.ids[k, 0] == closing_token(pivot)
        assert found.probs[k, 0] > 0.99
    assert path.shared.to_pivot[close] == closing_token(pivot)
    # without a closing token in the rows nothing could be counted
    rows = encoded(pivot, source, end_token=False)
    path = PathMap(pivot, source, TALKS, *rows)
    found = path.targets(rows[0][0], rows[1][0], speaking(rows[1][0], close, len(source), 0))
    assert found.ids[0, 0] == closing_token(pivot)


@pytest.mark.parametrize("mark", ["<think>", "<tool_call>", "<|im_start|>", "<|fim_prefix|>"])
@pytest.mark.parametrize("name", ["llama3", "gemma", "phi", "llama2"])
def test_marks_that_the_pivot_lacks_are_carried_to_nothing(shapes, name, mark):
    pivot, source = shapes[name], shapes["qwen"]
    # also where the answers themselves hold the mark as text
    texts = [Example("go", f"{mark}going ok"), Example("go", f"ok{mark}ing")] * 3
    rows = encoded(pivot, source, texts)
    path = PathMap(pivot, source, texts, *rows)
    token = source.convert_tokens_to_ids(mark)
    assert path.row((), token) == []
    assert path.shared.to_pivot[token] == -1
    found = path.targets(rows[0][0], rows[1][0], speaking(rows[1][0], token, len(source), 0))
    assert found.tail[0] > 0.99
    assert rows[0][0].ends[-2] == rows[1][0].ends[-2] == len(texts[0].response.encode())


def test_marks_of_one_name_are_one_mark(shapes):
    own, theirs = qwen(), qwen()
    theirs.add_tokens(["other"])
    mapped = mark_map(own, theirs, chat=True)
    assert all(own.convert_ids_to_tokens(j) == theirs.convert_ids_to_tokens(i) for i, j in mapped.items())
    assert own.convert_tokens_to_ids("<think>") in mapped.values()


def test_plain_text_ends_with_the_end_of_the_sequence(shapes):
    pivot, source = shapes["gemma"], shapes["qwen"]
    texts = [Example("go", "going ok")]
    rows = encoded(pivot, source, texts)
    path = PathMap(pivot, source, texts, *rows)
    assert path.shared.to_pivot[source.eos_token_id] == pivot.eos_token_id
    assert rows[0][0].answer[-1] == pivot.eos_token_id
    assert stop_tokens(pivot, True) == stop_tokens(pivot, False)[::-1]
    base = shapes["llama2"]  # one end for both of the source's
    ends = mark_map(base, pivot, chat=False)
    assert {ends[closing_token(pivot)], ends[pivot.eos_token_id]} == {base.eos_token_id}


def test_routing_counts_the_closing_token_a_source_was_taught(shapes):
    """A source that closes as its template does is not charged for an end it never writes."""
    tokenizer = shapes["gemma"]
    row = prepare(TALKS, [tokenizer], DataConfig("")).rows[0][0]
    sure = speaking(row, row.answer[-1], len(tokenizer), -1)
    assert comparable_losses([sure], [row.ends])[0] < 0.01


def test_hybrid_never_pairs_a_mark_with_text(shapes):
    from gwfast_llm.teachers.desk import SourceDesk
    from gwfast_llm.terms.collate import FusionCollator

    pivot, source = shapes["gemma"], shapes["qwen"]
    rows = encoded(pivot, source)

    class Said:
        name, tokenizer = "s", source

        def __init__(self):
            self.rows = rows[1]

        def signals(self, indices):
            token = source.convert_tokens_to_ids("<think>")
            return [speaking(self.rows[i], token, len(source), 0) for i in indices]

    said = Said()
    path = PathMap(pivot, source, TALKS, rows[0], said.rows)
    objective = ObjectiveConfig(preset="custom", hybrid=1.0, source_top_k=0)
    batch = FusionCollator(rows[0], 0, objective, SourceDesk(rows[0], [said], [1.0], [path], "mince", 0))([0])
    shared, probs = batch.own["hybrid"].ids[0, 0], batch.source_probs[0, 0]
    assert shared[0][probs[0].argmax()] == -1
    assert shared[-1][probs[-1].argmax()] == closing_token(pivot)


# --- pivots that put a space before every text


@pytest.mark.parametrize("how", ["normalizer", "pre_tokenizer"])
def test_pivots_that_prepend_a_space_are_matched_by_bytes(shapes, how):
    pivot, source = llama2(how), shapes["qwen"]
    piece = FirstPiece(pivot)
    assert piece.marks_start

    def spelt(text, start=False):
        return pivot.convert_ids_to_tokens(piece.of(text, start))

    assert spelt(b"ing") == ["ing"]
    assert spelt(b" ing") == ["▁ing"]
    assert spelt(b" ") == ["▁"]
    assert spelt(b"\n") == ["<0x0A>"]
    assert spelt("é".encode()) == ["<0xC3>"]
    assert spelt("é".encode()[:1]) == ["<0xC3>"]  # half a character
    assert spelt(b"ing", start=True) == ["▁ing"]  # as the pivot itself begins an answer
    # uncounted tokens of a source, in the middle of an answer and at its start
    texts = [Example("go", "ok so")]
    rows = encoded(pivot, source, texts)
    path = PathMap(pivot, source, texts, *rows)
    a = source("a")["input_ids"][0]
    assert pivot.convert_ids_to_tokens(path.shared.to_pivot[a].item()) == "a"  # not <0x61>
    ing, new = source("ing")["input_ids"][0], source("\n")["input_ids"][0]
    assert pivot.convert_ids_to_tokens([path.row((), ing)[0][0]]) == ["ing"]
    assert pivot.convert_ids_to_tokens([path.row((), new)[0][0]]) == ["<0x0A>"]
    assert pivot.convert_ids_to_tokens([path.row((), ing, True)[0][0]]) == ["▁ing"]


def test_every_single_token_of_a_source_goes_to_a_token_that_begins_it(shapes):
    for name, source_name in itertools.permutations(shapes, 2):
        pivot, source = shapes[name], shapes[source_name]
        piece, table = FirstPiece(pivot), spelling(pivot)
        for text in spelling(source):
            for i in piece.of(text, False) if text else []:
                assert text.startswith(table[i])
