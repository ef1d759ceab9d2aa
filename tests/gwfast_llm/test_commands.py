"""inspect, evaluate, the example configurations, and data in every form."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from gwfast_llm.command_line.parser import config_parser, parse
from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.evaluate import main as evaluate_command
from gwfast_llm.inspect import main as inspect_command
from gwfast_llm.models.loading import load_model, load_tokenizer
from gwfast_llm.reports.scoring import evaluate
from gwfast_llm.system.errors import FusionError
from gwfast_llm.text.examples import Example, encode_all, end_token_of, prepare
from gwfast_llm.text.reading import read_examples

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def fusion(home, tmp_path):
    """Configuration file of a small fusion."""
    config = FuseConfig(
        ModelConfig(str(home / "pivot")),
        DataConfig(str(home / "train.jsonl"), str(home / "held-out.jsonl"), max_length=96, end_token=False),
        [SourceConfig(str(home / n), name=n) for n in "AB"],
        ObjectiveConfig(source_top_k=20),
    )
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config.as_dict()))
    return path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_example_configurations_are_valid(path):
    _, config = parse(config_parser("fuse", ""), ["--config", str(path)])
    assert config is not None
    assert config.sources
    assert set(yaml.safe_load(path.read_text())) <= set(vars(config))


def test_there_are_examples():
    assert {p.name for p in EXAMPLES} == {
        "infigfusion_phi4.yaml",
        "one_gpu_lora.yaml",
        "same_family.yaml",
        "small_pivot.yaml",
    }


def test_flags_win_over_the_file(fusion):
    flags = ["--config", str(fusion), "--train.lr", "0.5", "--objective.source_top_k", "3"]
    _, config = parse(config_parser("fuse", ""), flags)
    assert config is not None
    assert config.train.lr == 0.5
    assert config.objective.source_top_k == 3


def test_print_config_gives_a_file_that_reads_back(fusion, capsys, tmp_path):
    with pytest.raises(SystemExit):
        parse(config_parser("fuse", ""), ["--config", str(fusion), "--print_config"])
    again = tmp_path / "again.yaml"
    again.write_text(capsys.readouterr().out)
    assert (
        parse(config_parser("fuse", ""), ["--config", str(again)])[1]
        == (parse(config_parser("fuse", ""), ["--config", str(fusion)])[1])
    )


def test_inspect_shows_alignment_memory_and_cache(fusion, capsys):
    before = sorted(p.name for p in fusion.parent.iterdir())
    assert inspect_command(["--config", str(fusion)]) == 0
    said = capsys.readouterr().out
    assert "recommended: best on held-out text of our small benchmark, no rival significantly better on real" in said
    assert "32 training examples, 10 held out" in said
    assert "source A: 79% of the pivot's answer tokens start where one of the source's does" in said
    assert "mymu| ko" in said
    plain, packed = re.search(
        r"pivot: (\d+)% of a batch's tokens are padding, (\d+)% with --train.packing", said
    ).groups()
    assert int(packed) < int(plain)
    assert "a cache of 20 logits a token would take" in said
    assert sorted(p.name for p in fusion.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--config is missing"),
        (["--pivot.model", "./nowhere"], "pivot: folder ./nowhere does not exist"),
        (["--data.train", "nowhere.jsonl"], "nowhere.jsonl does not exist"),
        (["--data.prompt", "question"], "column 'question' is missing or not text (found: log_prob, prompt"),
        (["--data.max_length", "4"], "max_length is 4"),
        (["--pivot.dtype", "float8"], "--pivot.dtype is 'float8'; expected one of auto, float32, bfloat16, float16"),
        (["--train.report_to", "[tensorbord]"], "train.report_to: 'tensorbord' is no logger"),
    ],
)
def test_inspect_finds_mistakes(fusion, capsys, flags, message):
    given = ["--config", str(fusion), *flags] if flags else []
    assert inspect_command(given) == 2
    found = capsys.readouterr().err
    assert found.startswith("error: ")
    assert message in found
    assert len(found.splitlines()) == 1


def damaged(home, folder, how):
    """A copy of source A, spoiled."""
    shutil.copytree(home / "A", folder)
    weights = folder / "model.safetensors"
    if how == "pickle":
        torch.save(load_file(weights), folder / "pytorch_model.bin")
        weights.unlink()
    elif how == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "lacks":
        weights.rename(folder / "model-00001-of-00002.safetensors")
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        weights.unlink()
    return str(folder)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("pickle", "holds only pytorch_model.bin, a pickle, which can run code and is never loaded"),
        ("cut", "model.safetensors is damaged or cut short"),
        ("lacks", "lacks model-00002-of-00002.safetensors"),
        ("nothing", "holds no weights"),
    ],
)
def test_weights_are_looked_at_before_they_are_needed(fusion, home, tmp_path, capsys, how, message):
    folder = damaged(home, tmp_path / "spoiled", how)
    assert inspect_command(["--config", str(fusion), "--pivot.model", folder]) == 2
    found = capsys.readouterr().err.splitlines()[-1]
    assert found.startswith("error: pivot: ")
    assert message in found
    with pytest.raises(FusionError, match=r"source spoiled: "):
        load_model(SourceConfig(folder))


def test_every_model_is_looked_at_before_one_is_scored(fusion, capsys):
    assert evaluate_command(["--config", str(fusion), "--models", "[/nowhere/x]"]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert "folder /nowhere/x does not exist" in said.err


def test_a_name_that_is_no_folder_and_on_no_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for load in (load_model, load_tokenizer):
        with pytest.raises(FusionError, match=r"at 'models/x', neither here nor on a hub .* give a folder with config"):
            load(ModelConfig("models/x"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FusionError, match=r"folder \./empty holds no config\.json; give the folder"):
        load_tokenizer(ModelConfig("./empty"))


def test_held_out_examples_are_asked_for_where_they_are_used():
    for name in ("eval_every", "interval_every"):
        with pytest.raises(FusionError, match=rf"train\.{name} is 4, but there are no held-out examples"):
            FuseConfig(ModelConfig("x"), DataConfig("y"), [SourceConfig("z")], train=TrainConfig(**{name: 4}))


def test_evaluate_prints_every_model_and_task(fusion, home, capsys):
    assert evaluate_command(["--config", str(fusion), "--models", f"[{home / 'A'}]", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(row["model"]).name for row in rows[::2]] == ["pivot", "A", "B", "A"]
    assert {row["task"] for row in rows} == {"S", "L"}
    assert all(0 <= row["value"] <= 1 and row["nats_a_byte"] > 0 for row in rows)
    assert evaluate_command(["--config", str(fusion), "--only", "[B]", "--json"]) == 0
    only = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert only == [row for row in rows if Path(row["model"]).name == "B"]
    assert evaluate_command(["--config", str(fusion), "--only", "[C]"]) == 2
    assert "--only: there is no 'C'; expected some of pivot, A, B" in capsys.readouterr().err


def test_scores_are_their_definitions(home, examples):
    pivot = ModelConfig(str(home / "pivot"))
    model, tokenizer = load_model(pivot), load_tokenizer(pivot)
    own = [e for e in examples if e.task in "MS"]
    scores = {s.task: s for s in evaluate(model, tokenizer, own, batch_size=5)}
    for task in "MS":
        nll = right = size = 0.0
        chosen = [e for e in own if e.task == task]
        for example in chosen:
            row = encode_all([example], tokenizer)[0]
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([row.ids])).logits[0].double().log_softmax(-1)
            at = range(row.prompt_length - 1, len(row.ids) - 1)
            nll -= sum(float(logits[t, row.ids[t + 1]]) for t in at)
            right += all(int(logits[t].argmax()) == row.ids[t + 1] for t in at)
            size += len(example.response)
        assert scores[task].nats_a_byte == pytest.approx(nll / size, rel=1e-5)
        if task == "M":
            words = sum(len(e.response.split()) for e in chosen)
            truth = sum(e.log_prob or 0.0 for e in chosen)
            assert scores[task].value == pytest.approx((nll + truth) / words, rel=1e-5)
        else:
            assert scores[task].value == right / len(chosen)


# --- data in every form


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    good = json.dumps({"prompt": "a", "response": "ü"}, ensure_ascii=False)
    (tmp_path / "x.jsonl").write_bytes(b"\xef\xbb\xbf" + good.encode() + b"\n" + good.encode("latin1") + b"\n")
    with pytest.raises(FusionError, match=r"x\.jsonl, line 2: not UTF-8 .*iconv"):
        read_examples(tmp_path / "x.jsonl")
    (tmp_path / "y.jsonl").write_bytes(b"\xef\xbb\xbf" + good.encode() + b"\n")
    assert read_examples(tmp_path / "y.jsonl")[0].response == "ü"


def test_parquet_and_conversations(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    turns = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4."}]
    pyarrow.parquet.write_table(pa.Table.from_pylist([{"talk": turns}]), tmp_path / "x.parquet")
    found = read_examples(tmp_path / "x.parquet", DataConfig("", messages="talk"))
    assert found == [Example("", "4.", "", None, (("user", "2+2?"),))]
    pyarrow.parquet.write_table(
        pa.Table.from_pylist([{"q": "a", "a": "b"}, {"q": "c", "a": "d"}]), tmp_path / "y.parquet"
    )
    pairs = read_examples(tmp_path / "y.parquet", DataConfig("", prompt="q", response="a"))
    assert [(e.prompt, e.response) for e in pairs] == [("a", "b"), ("c", "d")]
    (tmp_path / "z.parquet").write_text("not parquet")
    with pytest.raises(FusionError, match=r"z\.parquet is not a parquet file"):
        read_examples(tmp_path / "z.parquet")


@pytest.mark.parametrize(
    ("talk", "message"),
    [
        ("hello", "is not a conversation"),
        ([{"role": "user", "content": "x"}], "is not a conversation"),
        ([{"role": "user", "content": "x"}, {"role": "assistant", "content": None}], "is not a conversation"),
        ([{"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}], "last message is by 'user'"),
    ],
)
def test_bad_conversations_name_the_line(tmp_path, talk, message):
    (tmp_path / "x.jsonl").write_text(json.dumps({"talk": talk}))
    with pytest.raises(FusionError, match=f"line 1: .*{message}"):
        read_examples(tmp_path / "x.jsonl", DataConfig("", messages="talk"))


@pytest.fixture
def talkers(home, tmp_path):
    """Two tokenizers with the same chat template, special tokens and different pieces."""
    found = []
    for name in ("pivot", "A"):
        shutil.copytree(home / name, tmp_path / name)
        tokenizer = load_tokenizer(ModelConfig(str(tmp_path / name)))
        special = ["<user>", "<assistant>", "<end>"]
        tokenizer.add_special_tokens({"additional_special_tokens": special, "eos_token": "<end>"})
        tokenizer.chat_template = TEMPLATE
        found.append(tokenizer)
    return found


def test_chat_templates_frame_the_answer_for_each_model(talkers):
    data = DataConfig("", chat=True, max_length=64)
    done = prepare([Example("S cab:", " abc."), Example("", " bc.", messages=(("user", "S cb:"),))], talkers, data)
    for tokenizer, rows in zip(talkers, done.rows, strict=True):
        assert end_token_of(tokenizer, chat=True) == tokenizer.convert_tokens_to_ids("<end>")
        assert tokenizer.decode(rows[0].ids) == "<user>S cab:<end><assistant> abc.<end>"
        assert tokenizer.decode(rows[1].ids) == "<user>S cb:<end><assistant> bc.<end>"
        assert tokenizer.decode(rows[0].answer) == " abc.<end>"
        assert rows[0].ends[-2:] == [5, 6]  # the closing token counts as one byte after the text


def test_conversations_need_a_template(tokenizers):
    data = DataConfig("", chat=True, end_token=False)
    with pytest.raises(FusionError, match="has no chat template"):
        prepare([Example("S cab:", " abc.")], [tokenizers[0]], data)


def test_bad_examples_are_dropped_in_step_and_counted(tokenizers):
    rows = [Example("S cab:", " abc."), Example("S cab:", ""), Example("S " + "cab" * 9 + ":", " abc.")]
    data = DataConfig("", max_length=12, end_token=False, drop_bad=True)
    done = prepare(rows, tokenizers, data)
    assert [len(own) for own in done.rows] == [1, 1, 1]
    assert done.examples == rows[:1]
    assert any(note.startswith("1 examples left out: the answer is empty") for note in done.notes)
    assert any("the prompt alone has" in note for note in done.notes)
    with pytest.raises(FusionError, match="example 1: the answer is empty"):
        prepare(rows, tokenizers, dataclasses.replace(data, drop_bad=False))
    with pytest.raises(FusionError, match="no example can be used"):
        prepare(rows[1:], tokenizers, data)


def test_cut_answers_are_counted(tokenizers):
    done = prepare([Example("S cab:", " abc.")], tokenizers[:1], DataConfig("", max_length=9, end_token=False))
    assert len(done.rows[0][0].ids) == 9
    assert "1 of 1 answers cut to 9 tokens" in done.notes[0]
    assert done.rows[0][0].ends == [1, 2, 3]
