import datetime
import json

import pytest

from gwfast_llm.config import DataConfig
from gwfast_llm.system.errors import FusionError
from gwfast_llm.text.examples import IGNORE, Example, encode_all, pad_right
from gwfast_llm.text.reading import read_data, read_examples, write_examples


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


DEEP = "[" * 200_000 + "]" * 200_000
TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": DEEP}}]}


def nested(levels):
    found = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": DEEP}, "column 'messages' is not a conversation"),
        ({"messages": TALK, "tools": DEEP}, "tools is no list of objects"),
        ({"messages": TALK, "tools": [{"a": nested(400)}]}, "tools is nested too deep"),
        ({"messages": TALK, "tools": json.dumps([{"a": nested(400)}])}, "tools is nested too deep"),
        ({"messages": TALK, "tools": [{"a": float("nan")}]}, "tools holds what JSON cannot say"),
        ({"messages": TALK, "tools": [{"a": "\ud800"}]}, "the text holds half a character"),
        ({"messages": [{**TALK[0], "reasoning": nested(400)}, TALK[1]]}, "a message is nested too deep"),
        (
            {"messages": [{"role": "user", "content": [{"type": nested(400)}]}, TALK[1]]},
            "a message has a part of type a list",
        ),
    ],
)
def test_rows_that_nothing_can_read_are_counted_or_named(tmp_path, row, reason):
    lines = [json.dumps(one) for one in ({"messages": TALK}, row)]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    columns = DataConfig("", messages="messages")
    with pytest.raises(FusionError, match=f"line 2: .*{reason}|line 2: not JSON") as found:
        read_data(tmp_path / "x.jsonl", columns)
    assert "\n" not in str(found.value)
    read = read_data(tmp_path / "x.jsonl", DataConfig("", messages="messages", drop_bad=True))
    assert (len(read.examples), len(read.notes)) == (1, 1)
    assert read.notes[0].startswith("1 rows of x.jsonl left out")


def test_arguments_that_are_no_json_stay_the_text_they_are(tmp_path, tokenizers):
    (tmp_path / "x.jsonl").write_text(json.dumps({"messages": [TALK[0], CALL, *TALK]}))
    (example,) = read_examples(tmp_path / "x.jsonl", DataConfig("", messages="messages"))
    assert DEEP in example.messages[1][2]


@pytest.mark.parametrize("log_prob", ["NaN", "-Infinity", "1" + "0" * 400])
def test_a_log_probability_is_finite(tmp_path, log_prob):
    (tmp_path / "x.jsonl").write_text(f'{{"prompt": "a", "response": "b", "log_prob": {log_prob}}}')
    with pytest.raises(FusionError, match="line 1: column 'log_prob' is not finite"):
        read_examples(tmp_path / "x.jsonl")


def test_a_value_of_a_parquet_file_that_json_or_python_cannot_say_costs_its_row(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    when = [{"when": datetime.datetime(2026, 1, 31)}]
    table = pa.Table.from_pylist([{"messages": TALK, "tools": None}, {"messages": TALK, "tools": when}])
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    years = pa.array([0, 2**60], pa.timestamp("ms"))
    table = pa.table({"prompt": ["a", "c"], "response": ["b", "d"], "made": years})
    pyarrow.parquet.write_table(table, tmp_path / "y.parquet")
    for name, column, reason in (
        ("x", "messages", "tools holds what JSON cannot say"),
        ("y", "", "a value cannot be read"),
    ):
        path = tmp_path / f"{name}.parquet"
        with pytest.raises(FusionError, match=rf"{name}\.parquet, line 2: {reason}"):
            read_data(path, DataConfig("", messages=column))
        read = read_data(path, DataConfig("", messages=column, drop_bad=True))
        assert len(read.examples) == 1
        assert read.notes == [f"1 rows of {name}.parquet left out: {reason}"]
