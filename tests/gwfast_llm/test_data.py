import json

import pytest

from gwfast_llm.errors import FusionError
from gwfast_llm.text.examples import IGNORE, Example, encode_all, pad_right
from gwfast_llm.text.reading import read_examples, write_examples


def test_labels_cover_the_answer_and_nothing_else(tokenizers, examples):
    for tokenizer in tokenizers:
        for example, row in zip(examples, encode_all(examples, tokenizer), strict=True):
            labels = row.labels
            assert all(label == IGNORE for label in labels[: row.prompt_length])
            assert tokenizer.decode(labels[row.prompt_length :]) == example.response
            assert tokenizer.decode(row.ids) == example.prompt + example.response


def test_examples_come_back_from_disk(tmp_path, examples):
    write_examples(tmp_path / "x.jsonl", examples)
    assert read_examples(tmp_path / "x.jsonl") == examples


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no examples"),
        ("{not json", "line 1: not JSON"),
        ("[1]", "line 1: expected an object"),
        (json.dumps({"prompt": "a", "answer": "b"}), "'response' is missing.*answer, prompt"),
        (json.dumps({"prompt": "a", "response": 3}), "'response' is missing or not text"),
        (json.dumps({"prompt": "a", "response": "b"}) + "\n" + json.dumps({"prompt": "a", "response": ""}), "line 2"),
    ],
)
def test_bad_files_name_the_line(tmp_path, content, message):
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    with pytest.raises(FusionError, match=message):
        read_examples(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FusionError, match=r"nothing\.jsonl does not exist"):
        read_examples(tmp_path / "nothing.jsonl")


def test_empty_prompt_needs_a_first_token(tokenizers):
    with pytest.raises(FusionError, match="prompt has no tokens"):
        encode_all([Example("", " ab.")], tokenizers[0])


def test_prompt_that_fills_the_length_is_refused(tokenizers):
    with pytest.raises(FusionError, match="max_length is 3"):
        encode_all([Example("S hgfedcba:", " ab.")], tokenizers[0], max_length=3)


def test_padding_is_on_the_right():
    assert pad_right([[1, 2, 3], [4]], 0).tolist() == [[1, 2, 3], [4, 0, 0]]
