"""Templates that refuse, print dates and leave things out; conversations of every kind."""

import dataclasses
import datetime
import json

import pytest

from gwfast_llm.config import DataConfig
from gwfast_llm.system.errors import FusionError
from gwfast_llm.text.conversations import read_turns
from gwfast_llm.text.examples import Example, prepare, prompt_text
from gwfast_llm.text.reading import read_data, read_examples
from gwfast_llm.text.templates import prints_date
from gwfast_llm.text.unwritten import unwritten
from shaped import CHATML, gemma, llama3, phi, qwen

ASK, SAY = {"role": "user", "content": "go"}, {"role": "assistant", "content": "ok"}
CALL = {"type": "function", "id": "c0", "function": {"name": "add", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {}}}
WITH_TOOLS = (
    "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}{{ ' ' + m.name if m.name is defined else '' }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}{{ c.function.arguments | tojson }}</tool_call>"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def talk(*turns, tools=None):
    record = {"messages": [*turns, SAY]}
    return record | ({"tools": tools} if tools else {})


def read(tmp_path, *records, drop_bad=False):
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records) + "\n")
    return read_data(path, DataConfig(str(path), messages="messages", drop_bad=drop_bad))


REFUSED = {
    "no system role": (gemma, [{"role": "system", "content": "be brief"}, ASK], "System role not supported"),
    "roles alternate": (gemma, [ASK, ASK], "roles must alternate"),
    "several templates": (qwen, [ASK], "several chat templates (rag, tool_use) and none named default"),
    "no template": (qwen, [ASK], "has no chat template"),
    "bad syntax": (qwen, [ASK], "refuses it"),
    "bad operation": (qwen, [ASK], "refuses it"),
    "a clock of its own": (qwen, [ASK], "asks the clock in a form that no date can be pinned in"),
}
BROKEN = {
    "several templates": {"rag": CHATML, "tool_use": CHATML},
    "no template": None,
    "bad syntax": "{% for m in messages %}",
    "bad operation": "{{ messages[0].content + 3 }}",
    "a clock of its own": "{% set f = '%Y' %}{{ strftime_now(f) }}",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_template_refuses_is_one_line_that_names_row_and_model(tmp_path, kind):
    make, turns, message = REFUSED[kind]
    tokenizer = make()
    tokenizer.name_or_path = "models/own"
    if kind in BROKEN:
        tokenizer.chat_template = BROKEN[kind]
    good = qwen()
    data = read(tmp_path, talk(ASK), talk(*turns)).examples
    chosen = data[1:] if kind in BROKEN else data
    with pytest.raises(FusionError) as found:
        prepare(chosen, [good, tokenizer], DataConfig(""))
    said = str(found.value)
    assert message in said
    assert "(line 2)" in said
    assert "'own'" in said
    assert "\n" not in said
    dropping = DataConfig("", drop_bad=True)
    if kind in BROKEN:
        with pytest.raises(FusionError, match="no example can be used"):
            prepare(chosen, [good, tokenizer], dropping)
        return
    done = prepare(data, [good, tokenizer], dropping)
    assert [len(rows) for rows in done.rows] == [1, 1]
    assert any(note.startswith("1 examples left out: the chat template of 'own' refuses it") for note in done.notes)


BAD = {
    "not JSON": "{nope",
    "expected an object": "[1]",
    "is not a conversation": {"messages": "hello"},
    "has no role": {"messages": [{"content": "x"}, SAY]},
    "has neither content nor tool calls": {"messages": [{"role": "user", "content": None}, SAY]},
    "the last message is by 'user'": {"messages": [ASK, SAY, ASK]},
    "the last message calls a tool": {"messages": [ASK, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
    "a part of type 'image_url'": {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, SAY]},
    "the response is empty": {"messages": [ASK, {"role": "assistant", "content": ""}]},
    "half a character": '{"messages": [{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "a"}]}',
    "tools is no list": talk(ASK, tools="{"),
    "tool_calls is no list": {"messages": [ASK, {"role": "assistant", "content": "", "tool_calls": "add"}, SAY]},
    "nested too deep": "[" * 100000,
}


@pytest.mark.parametrize("reason", BAD)
def test_every_bad_row_is_one_line_or_counted(tmp_path, reason):
    with pytest.raises(FusionError) as found:
        read(tmp_path, talk(ASK), BAD[reason])
    assert reason in str(found.value)
    assert "x.jsonl, line 2: " in str(found.value)
    assert "--data.drop_bad" in str(found.value)
    done = read(tmp_path, talk(ASK), BAD[reason], BAD[reason], drop_bad=True)
    assert len(done.examples) == 1
    assert len(done.notes) == 1
    assert done.notes[0].startswith("2 rows of x.jsonl left out: ")
    with pytest.raises(FusionError, match="holds no examples that can be used"):
        read(tmp_path, BAD[reason], drop_bad=True)


def test_rows_that_are_not_utf8_and_other_columns_are_counted_too(tmp_path):
    path = tmp_path / "x.jsonl"
    good = json.dumps({"prompt": "a", "response": "b"}).encode()
    bad = json.dumps({"prompt": "a", "response": "ü"}, ensure_ascii=False).encode("latin1")
    path.write_bytes(b"\n".join([good, bad, b'{"prompt": 3}', b'{"prompt": "a", "response": "b", "log_prob": "x"}']))
    done = read_data(path, DataConfig("", drop_bad=True))
    assert len(done.examples) == 1
    assert [note.split("left out: ")[1] for note in done.notes] == [
        "not UTF-8",
        "column 'prompt' is missing or not text",
        "column 'log_prob' is no number",
    ]


def test_tools_calls_names_and_parts_are_kept_where_the_template_takes_them(tmp_path):
    turns = [
        {"role": "user", "name": "Ann", "content": [{"type": "text", "text": "add"}, {"type": "text", "text": " it"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "name": "add", "tool_call_id": "c0", "content": "1"},
    ]
    example = read(tmp_path, talk(*turns, tools=[TOOL])).examples[0]
    assert example.response == "ok"
    tokenizer = qwen()
    tokenizer.chat_template = WITH_TOOLS
    text = prompt_text(example, tokenizer)
    for piece in ("user Ann\nadd it<", '<tool_call>add{"a": 1}</tool_call>', "tool add\n1<", '"description": "adds"'):
        assert piece in text
    assert "None" not in text
    assert unwritten(tokenizer, example.messages, example.tools) == ()
    # a template that takes none of it
    done = prepare([example, example], [tokenizer, phi()], DataConfig(""))
    notes = [note for note in done.notes if "does not write" in note]
    assert {note.split("hold ")[1].split(",")[0] for note in notes} == {"tools", "tool_calls", "name"}
    assert all(note.startswith("2 of 2 conversations") for note in notes)
    assert hash(example)


def test_messages_that_a_template_skips_are_said(tmp_path):
    tokenizer = qwen()
    tokenizer.chat_template = CHATML.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")
    example = read(tmp_path, talk({"role": "system", "content": "be brief"}, ASK)).examples[0]
    done = prepare([example], [tokenizer], DataConfig(""))
    assert "1 of 1 conversations hold messages by 'system', which the chat template" in done.notes[0]
    assert unwritten(qwen(), example.messages, "") == ()


def test_parquet_conversations_hold_nulls_for_what_a_turn_lacks():
    turns = [{"role": "user", "content": "a", "tool_calls": None, "name": None}, {"role": "assistant", "content": "b"}]
    expected = (("user", "a"),), ("assistant", "b")
    assert read_turns(turns, "m") == read_turns(json.dumps(turns), "m") == expected


def test_what_an_answer_holds_beside_its_text_is_said(tmp_path):
    thought = {"messages": [ASK, SAY | {"reasoning_content": "because"}]}
    assert read(tmp_path, thought, talk(ASK)).notes == [
        "1 rows of x.jsonl hold reasoning_content with the answer, which is not read"
    ]


def test_answers_that_hold_marks_as_text_are_counted():
    examples = [Example("", f"{text}ok", messages=(("user", "go"),)) for text in ("", "<think>", "<think>a</think>")]
    notes = prepare(examples, [gemma(), qwen()], DataConfig("")).notes
    assert sorted(note.split(", which")[0] for note in notes) == [
        "1 of 3 answers hold </think> as text",
        "2 of 3 answers hold <think> as text",
    ]


# --- dates


@pytest.fixture
def other_day(monkeypatch):
    """Let the clock show another day."""

    def turn(day):
        for user in ("text.examples", "teachers.dates", "text.templates"):
            monkeypatch.setattr(f"gwfast_llm.{user}.today", lambda: day)

    return turn


def test_the_date_of_a_template_is_pinned_and_said(other_day):
    tokenizer = llama3(dated=True)
    assert prints_date(tokenizer)
    assert not prints_date(qwen())
    example = Example("", "ok", messages=(("user", "go"),))
    assert "Today Date: 31 Jan 2026" in prompt_text(example, tokenizer, "2026-01-31")
    other_day("2027-03-04")
    assert "Today Date: 04 Mar 2027" in prompt_text(example, tokenizer)
    notes = prepare([example], [tokenizer], DataConfig("", date="2026-01-31")).notes
    assert any("prompts hold the date 2026-01-31" in note for note in notes)
    assert not prepare([example], [qwen()], DataConfig("")).notes
    for bad in ("31.1.2026", "2026-13-01", "today"):
        with pytest.raises(FusionError, match=r"data\.date is .*; expected a day as 2026-01-31"):
            DataConfig("", date=bad)
    assert datetime.date.fromisoformat("2026-01-31")


@pytest.fixture(scope="module")
def dated_home(tmp_path_factory):
    """A pivot without and a source with a date in its template, and conversations."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("dated")
    torch.manual_seed(0)
    for name, tokenizer in (("pivot", qwen()), ("source", llama3(dated=True))):
        shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    rows = [talk({"role": "user", "content": f"go {k}"}) for k in range(6)]
    (folder / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def dated_config(home, folder):
    import yaml

    content = {
        "pivot": {"model": str(home / "pivot")},
        "sources": [{"model": str(home / "source"), "cache": str(folder / "cache")}],
        "data": {"train": str(home / "talks.jsonl"), "messages": "messages", "max_length": 512},
        "train": {"steps": 2, "batch_size": 2, "log_every": 1, "save_every": 1, "diagnose": 0},
    }
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_yesterdays_cache_goes_with_its_date(dated_home, tmp_path, other_day, capsys):
    from gwfast_llm.cache import main as cache_command
    from gwfast_llm.fuse import main as fuse_command
    from gwfast_llm.inspect import main as inspect_command

    path = dated_config(dated_home, tmp_path)
    other_day("2026-01-31")
    assert cache_command(["--config", str(path)]) == 0
    assert json.loads((tmp_path / "cache" / "manifest.json").read_text())["date"] == "2026-01-31"
    other_day("2026-02-01")
    assert cache_command(["--config", str(path)]) == 0
    assert "0 shards computed" in capsys.readouterr().out
    assert inspect_command(["--config", str(path)]) == 0
    said = capsys.readouterr().out
    assert "its cache at" in said
    assert "fits and is whole" in said
    assert "answers closed by <|eot_id|>" in said
    assert "answers closed by <|im_end|>" in said
    assert "prompts hold the date 2026-01-31" in said
    assert fuse_command(["--config", str(path), "--runs", str(tmp_path), "--name", "r"]) == 0
    assert json.loads((tmp_path / "r" / "config.json").read_text())["data"]["date"] == "2026-01-31"
    assert "prompts hold the date 2026-01-31" in (tmp_path / "r" / "report.md").read_text()
    capsys.readouterr()
    assert inspect_command(["--config", str(path), "--data.date", "2026-02-01"]) == 2
    assert "was made with another date" in capsys.readouterr().err


def test_a_resumed_run_keeps_the_date_of_its_start(dated_home, tmp_path, other_day, monkeypatch, capsys):
    import yaml

    from gwfast_llm.command_line import run_folder
    from gwfast_llm.fuse import main as fuse_command

    path = dated_config(dated_home, tmp_path)
    content = yaml.safe_load(path.read_text())
    content["sources"][0]["cache"] = ""
    path.write_text(yaml.safe_dump(content))
    line = ["--config", str(path), "--runs", str(tmp_path), "--name", "r"]

    class Killed(BaseException):
        """Stands for a kill."""

    def kill(*arguments):
        raise Killed

    other_day("2026-01-31")
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "finish", kill)
        with pytest.raises(Killed):
            fuse_command(line)
    other_day("2026-02-01")
    assert fuse_command([*line, "--resume"]) == 0
    assert json.loads((tmp_path / "r" / "config.json").read_text())["data"]["date"] == "2026-01-31"


def test_evaluate_leaves_out_what_a_template_refuses(dated_home, tmp_path, capsys):
    import yaml

    from gwfast_llm.evaluate import main as evaluate_command

    path = dated_config(dated_home, tmp_path)
    content = yaml.safe_load(path.read_text())
    rows = [talk(ASK), talk({"role": "system", "content": "b"}, ASK), {"messages": 3}]
    (tmp_path / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    content["data"] |= {"validation": str(tmp_path / "held.jsonl"), "drop_bad": True}
    content["sources"][0] = {"model": str(tmp_path / "source")}
    import shutil

    shutil.copytree(dated_home / "source", tmp_path / "source")
    template = llama3().chat_template.replace("{{ bos_token }}", "{{ messages[1].x.y if messages|length > 1 }}")
    (tmp_path / "source" / "chat_template.jinja").write_text(template)
    path.write_text(yaml.safe_dump(content))
    assert evaluate_command(["--config", str(path), "--json"]) == 0
    said = capsys.readouterr()
    assert [json.loads(line)["count"] for line in said.out.splitlines()] == [1, 1]
    assert "1 rows of held.jsonl left out" in said.err
    assert "1 examples left out: the chat template of 'source' refuses it" in said.err
    assert evaluate_command(["--config", str(path), "--data.drop_bad", "false"]) == 2
    assert dataclasses.is_dataclass(read_examples(dated_home / "talks.jsonl", DataConfig("", messages="messages"))[0])
