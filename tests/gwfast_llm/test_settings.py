"""Configurations of every wrong shape: one line, before any work; long, as every field has wrong shapes of its own."""

import dataclasses
import itertools
import json
import math
import os
import sys
from pathlib import Path

import pytest
import yaml

from gwfast_llm.cache import main as cache_command
from gwfast_llm.command_line.parser import config_parser, parse
from gwfast_llm.config import (
    DataConfig,
    FuseConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    SourceConfig,
    TrainConfig,
)
from gwfast_llm.evaluate import main as evaluate_command
from gwfast_llm.fuse import main as fuse_command
from gwfast_llm.inspect import main as inspect_command
from gwfast_llm.report import main as report_command
from gwfast_llm.reports.markdown import code, markdown
from gwfast_llm.reports.pages import fusion_page
from gwfast_llm.reports.run_report import fusion_record
from gwfast_llm.system.errors import FusionError, one_line, redact

GOOD = {
    "pivot": {"model": "p"},
    "sources": [{"model": "a/b", "name": "s"}],
    "data": {"train": "d.jsonl"},
    "objective": {"preset": "path"},
    "train": {"steps": 5, "lr": 1e-5, "report_to": []},
    "lora": {"rank": 2},
}
RECORDS = {
    "pivot": ModelConfig,
    "data": DataConfig,
    "objective": ObjectiveConfig,
    "train": TrainConfig,
    "lora": LoraConfig,
}

PARSER = config_parser("fuse", "")


def read(tmp_path, content, *flags):
    path = tmp_path / "c.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return parse(PARSER, ["--config", str(path), *flags])[1]


@pytest.mark.parametrize(("given", "whole"), [(2.5, 2), (0.2, 1), (100.0, 100), ("1e3", 1000), (333.4, 333)])
def test_steps_between_checkpoints_are_rounded_with_a_note(tmp_path, capsys, given, whole):
    found = [read(tmp_path, {**GOOD, "train": {"save_every": given}})] if not isinstance(given, str) else []
    found.append(read(tmp_path, GOOD, "--train.save_every", str(given)))
    assert [config.train.save_every for config in found] == [whole] * len(found)
    said = capsys.readouterr().err.splitlines()
    exact = float(given) == whole
    assert said == [] if exact else set(said) == {f"note: train.save_every {given} is rounded to {whole}"}


def refused(tmp_path, content, *flags):
    with pytest.raises(FusionError) as found:
        read(tmp_path, content, *flags)
    assert "\n" not in str(found.value)
    return str(found.value)


def changed(where, value):
    content = json.loads(json.dumps(GOOD))
    *path, last = where
    place = content
    for part in path:
        place = place[part]
    place[last] = value
    return content


def numbers():
    for section, record in RECORDS.items():
        for field in dataclasses.fields(record):
            yield section, field.name, str(field.type)


WRONG = {
    "int": [None, "5", "many", 1.5, True, [5], {"a": 5}, 10**30],
    "float": [None, "0.1", "much", True, [0.1], {"a": 1}, math.nan, math.inf, 10**400],
    "bool": [None, "yes please", 1, [True]],
    "str": [None, 5, True, ["a"], {"a": "b"}, "a\0b"],
    "list": [None, "tensorboard", 3, {"a": "b"}, [3], [None], [["a"]]],
    "choice": [None, 5, "other", ["path"]],
}


def kind_of(annotation):
    return next((kind for kind in ("list", "int", "float", "bool", "str") if annotation.startswith(kind)), "choice")


@pytest.mark.parametrize("section", RECORDS)
def test_a_value_of_another_type_names_the_field_in_files_flags_and_records(tmp_path, section):
    for own, name, annotation in numbers():
        if own != section:
            continue
        for value in WRONG[kind_of(annotation)]:
            if (name, value) == ("save_every", 1.5):  # rounded
                continue
            content = changed((section, name), value)
            said = refused(tmp_path, yaml.dump(content))  # writes NaN and null characters as YAML does
            assert f"{section}.{name}" in said
            assert "; expected" in said
            with pytest.raises(FusionError, match=rf"{section}\.{name}.* is .*expected"):
                RECORDS[section](**GOOD[section] | {name: value})
            if not isinstance(value, str) and kind_of(annotation) not in ("str", "choice"):
                flag = f"--{section}.{name}={json.dumps(value)}".replace("NaN", ".nan").replace("Infinity", ".inf")
                assert f"{section}.{name}" in refused(tmp_path, GOOD, flag)


SHAPES = {
    ("sources", ("sources",), ("a", "b")): "",
    "names": (changed(("sources",), ["a/b"]), "sources[0] is 'a/b'; expected a record: model: a/b"),
    "a name": (changed(("sources",), "a/b"), "sources is 'a/b'; expected a list of records with model"),
    "one record": (changed(("sources",), {"model": "a"}), "sources is a record; expected a list of records"),
    "no sources": (changed(("sources",), None), "sources is null; expected a list"),
    "null in sources": (changed(("sources",), [None]), "sources[0] is null; expected a record"),
    "deep null": (changed(("sources", 0, "weight"), None), "sources[0].weight is null; expected a number"),
    "deep text": (changed(("sources", 0, "weight"), "big"), "sources[0].weight is 'big'; expected a number"),
    "deep unknown": (changed(("sources", 0, "wieght"), 1), "sources[0].wieght is no option; did you mean weight"),
    "pivot a name": (changed(("pivot",), "p"), "pivot is 'p'; expected a record: model: p"),
    "pivot a list": (changed(("pivot",), ["p"]), "pivot is a list; expected a record"),
    "train null": (changed(("train",), None), "train is null; expected a record"),
    "train a number": (changed(("train",), 5), "train is 5; expected a record"),
    "unknown section": ({**GOOD, "trian": {}}, "trian is no option; did you mean train"),
    "unknown field": (changed(("train", "stepz"), 5), "train.stepz is no option; did you mean steps"),
    "dtype null": (changed(("pivot", "dtype"), None), "pivot.dtype is null; expected one of auto, float32"),
    "a record for text": (changed(("pivot", "model"), {"class_path": "x"}), "pivot.model is a record; expected text"),
    "a list": ("- a\n- b\n", "holds a list; expected the fields pivot"),
    "a word": ("hello", "holds 'hello'; expected the fields pivot"),
    "twice": ("train: {steps: 1, steps: 2}", "line 1: 'steps' is given twice"),
    "twice above": ("train: {}\ntrain: {}\n", "line 2: 'train' is given twice"),
    "numbers as names": ("train: {5: 1}", "5 is no name of a field"),
    "broken": ("train: {steps: [", "no YAML"),
    "tab": ("train:\n\tsteps: 5\n", "line 2: no YAML"),
    "two documents": ("train: {}\n---\ntrain: {}\n", "no YAML"),
    "tag": ("pivot: !!python/object/apply:os.system ['touch pwned']", "tags (tag:yaml.org,2002:python/object/apply"),
    "own tag": ("pivot: !include other.yaml", "tags (!include) are not read"),
    "alias": ("train: &a {steps: 1}\nlora: *a\n", "anchors and aliases (& and *) are not read"),
    "merge": ("pivot: {<<: {model: a}}", "pivot.<< is no option"),
    "deep": ("train: " + "[" * 100 + "]" * 100, "nested more than 12 levels deep"),
    "deeper": ("train: " + "[" * 20000, "nested more than 12 levels deep"),
    "long number": ("train: {steps: " + "9" * 5000 + "}", "a number in it is too long"),
    "large": ("# " + "x" * 2**21, "bytes; a configuration has at most"),
    "included": ("config: other.yaml", "config is no option"),
    "control": ("pivot: {model: 'a\x01b'}", "no YAML"),
}
del SHAPES[("sources", ("sources",), ("a", "b"))]


@pytest.mark.parametrize("kind", SHAPES)
def test_a_file_of_another_shape_is_one_line(tmp_path, kind):
    content, message = SHAPES[kind]
    said = refused(tmp_path, content)
    assert message in said
    assert said.startswith("--config ")


IMPOSSIBLE = {
    ("data", "max_length", 1): "data.max_length is 1; expected at least 2",
    ("data", "date", "2026-1-1"): "data.date is '2026-1-1'; expected a day as 2026-01-31",
    ("data", "train", ""): "data.train is empty",
    ("pivot", "model", " "): "pivot.model is empty",
    ("objective", "top_k", 0): "objective.top_k is 0; expected at least 1",
    ("train", "lr", 0): "train.lr is 0.0; expected a positive number",
    ("train", "seed", 2**40): "train.seed is 1099511627776; expected at most 4294967295",
    ("lora", "alpha", -1): "lora.alpha is -1.0; expected a positive number",
}


@pytest.mark.parametrize("command", [fuse_command, inspect_command])
def test_values_that_no_run_can_have_are_one_line(tmp_path, capsys, command):
    for (section, name, value), message in IMPOSSIBLE.items():
        for content, flags in ((changed((section, name), value), []), (GOOD, [f"--{section}.{name}={value}"])):
            (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
            assert command(["--config", str(tmp_path / "c.yaml"), *flags]) == 2
            said = capsys.readouterr().err
            assert message in said
            assert len(said.splitlines()) == 1


def test_half_a_record_names_what_is_missing(tmp_path, capsys):
    for line, message in (
        (["--pivot.dtype", "float32", "--data.train", "d"], "pivot.model"),
        (["--pivot.model", "p", "--data.chat", "true"], "data.train"),
        (["--pivot.model", "p", "--data.train", "d", "--sources", '[{"name": "a"}]'], "model"),
    ):
        assert fuse_command(line) == 2
        said = capsys.readouterr().err
        assert message in said
        assert len(said.splitlines()) == 1
        assert "jsonargparse" not in said


def test_files_that_are_none(tmp_path, monkeypatch):
    (tmp_path / "latin.yaml").write_bytes("pivot: {model: ü}".encode("latin1"))
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, message in (
        ("nowhere.yaml", "cannot be read (No such file"),
        (".", "is no file"),
        ("pipe.yaml", "is no file"),
        ("latin.yaml", "it is not UTF-8"),
        ("a\0b", "without null characters"),
    ):
        with pytest.raises(FusionError) as found:
            parse(PARSER, ["--config", f"{tmp_path}/{name}"])
        assert message in str(found.value)
    with pytest.raises(FusionError, match="--config has no value"):
        parse(PARSER, ["--config"])
    lines = [f"{one}: &{one} [*{two},*{two}]" for two, one in itertools.pairwise("abcdefghijklmnopqrst")]
    bomb = "\n".join(["a: &a [x,x]", *lines])
    assert "anchors and aliases" in refused(tmp_path, bomb)


PROBE = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\nclass Model:\n    pass\n"
NAMED = {"class_path": "named_by_config.Model", "init_args": {"model": "x"}}


@pytest.mark.parametrize("command", [fuse_command, evaluate_command])
def test_a_configuration_imports_nothing_that_it_names(tmp_path, capsys, monkeypatch, command):
    (tmp_path / "named_by_config.py").write_text(PROBE)
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(NAMED))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    lines, named = [], "named_by_config.Model"
    content = [*((name, NAMED) for name in GOOD), ("sources", [NAMED]), ("pivot", "other.yaml"), ("train", named)]
    for k, (section, value) in enumerate(content):
        path = tmp_path / f"c{k}.yaml"
        path.write_text(yaml.safe_dump(GOOD | {section: value}))
        lines.append(["--config", str(path)])
        lines.append([f"--{section}={value if isinstance(value, str) else json.dumps(value)}"])
    good = tmp_path / "good.yaml"
    good.write_text(yaml.safe_dump(GOOD))
    for flag in (
        "--pivot.class_path",
        "--train.class_path",
        "--sources.class_path",
        "--pivot.init_args.model",
        "--train",
    ):
        lines.append(["--config", str(good), flag, "named_by_config.Model"])
        lines.append(["--config", str(good), f"{flag}=named_by_config.Model"])
    lines.append(["--config", str(good), "--sources+", json.dumps(NAMED)])
    for short in ("--conf", "--confi", "--pivo", "--cfg", "--sourc"):  # beginnings of names are no names
        lines.append([short, str(tmp_path / "c0.yaml")])
        lines.append([f"{short}={tmp_path / 'c0.yaml'}"])
    for line in lines:
        assert command(line) == 2
        said = capsys.readouterr()
        assert said.err.startswith("error: ")
        assert len(said.err.splitlines()) == 1
    assert not (tmp_path / "named_by_config.ran").exists()
    assert "named_by_config" not in sys.modules


def test_what_is_right_is_read_as_before(tmp_path):
    config = read(tmp_path, GOOD)
    assert config == FuseConfig(
        ModelConfig("p"),
        DataConfig("d.jsonl"),
        [SourceConfig("a/b", name="s")],
        train=TrainConfig(steps=5, lr=1e-5),
        lora=LoraConfig(rank=2),
    )
    first = "pivot: {model: p}\ndata: {train: d, date: 2026-01-31}\n"
    found = read(tmp_path, first + "objective: {preset: sft}\ntrain: {lr: 1e-4, weight_decay: 0}")
    assert (found.train.lr, found.train.weight_decay, found.data.date) == (1e-4, 0, "2026-01-31")
    assert read(tmp_path, GOOD, "--train.steps", "7", "--train.lr=2e-3").train.steps == 7
    more = read(tmp_path, GOOD, "--sources+", '{"model": "c"}')
    assert [source.model for source in more.sources] == ["a/b", "c"]
    names = changed(("sources", 0, "name"), "null")
    assert read(tmp_path, names).sources[0].name == "null"
    assert read(tmp_path, changed(("data", "prompt"), "")).data.prompt == ""
    assert read(tmp_path, GOOD, "--train.report_to", "[tensorboard]").train.report_to == ["tensorboard"]


def test_a_home_folder_is_meant_everywhere(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("pivot", "A", "train.jsonl", "held-out.jsonl"):
        (tmp_path / name).symlink_to(home / name)
    content = {
        "pivot": {"model": "~/pivot"},
        "sources": [{"model": "~/A", "cache": "~/cache"}],
        "data": {"train": "~/train.jsonl", "validation": "~/held-out.jsonl", "max_length": 96, "end_token": False},
        "train": {"steps": 1, "batch_size": 4, "log_every": 1, "diagnose": 0},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    assert cache_command(["--config", "~/c.yaml"]) == 0
    assert inspect_command(["--config=~/c.yaml"]) == 0
    assert fuse_command(["--config", "~/c.yaml", "--runs=~/runs", "--name", "r"]) == 0
    assert evaluate_command(["--config", "~/c.yaml", "--models", "[~/runs/r/model]"]) == 0
    capsys.readouterr()
    assert (tmp_path / "cache" / "manifest.json").is_file()
    assert (tmp_path / "runs" / "r" / "model" / "config.json").is_file()
    assert not Path("~").exists()


# --- what is shown and stored

SECRET = "s3cr3tword"
URLS = [
    f"https://me:{SECRET}@host/org/model",
    f"https://{SECRET}@host/model",
    f"https://host/model?token={SECRET}",
    f"https://host/model?page=2&X-Amz-Signature={SECRET}&b=1",
    f"https://host/model?api_key={SECRET}#x",
    f"hf://user:{SECRET}@datasets/x",
]


def test_credentials_are_found_in_urls_of_every_form():
    for url in URLS:
        for text in (url, str(Path(url)), f"cannot load '{url}' (404)", f"<{url}>"):
            assert SECRET not in redact(text)


@pytest.mark.parametrize("url", URLS[::3])
def test_credentials_are_struck_out_of_all_that_is_said(tmp_path, capsys, monkeypatch, url):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for place in (("pivot", "model"), ("sources", 0, "model"), ("data", "train"), ("sources", 0, "cache")):
        content = changed(place, url)
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump(content))
        for command in (fuse_command, inspect_command, cache_command, evaluate_command):
            flags = ["--runs", str(tmp_path / "runs")] if command is fuse_command else []
            assert command(["--config", str(path), *flags]) == 2
            said = capsys.readouterr()
            assert SECRET not in said.err + said.out
            assert len([line for line in said.err.splitlines() if line.startswith("error: ")]) == 1
        config = parse(PARSER, ["--config", str(path)])[1]
        assert SECRET not in json.dumps(config.as_dict())
        assert SECRET not in config.sources[0].label
        page = fusion_page(fusion_record(config, 1.0, [f"x {url}"]), [{"loss": 1.0, "step": 1}], [])
        assert SECRET not in page
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "c.yaml"]
    assert not any(SECRET in path.read_text(errors="ignore") for path in kept)


def test_known_tokens_are_struck_out_wherever_they_stand():
    for token in ("hf_" + "a1B2" * 8, "ghp_" + "a1B2" * 8, "sk-" + "a1B2" * 8):
        assert token not in str(FusionError(f"bad answer for {token}"))
    assert "abc12345xyz" not in redact("Authorization: Bearer abc12345xyz")
    plain = "see https://host/x?page=2 and a@b.org; key = value"
    assert redact(plain) == plain


HOSTILE = "a|b`c`<script>alert(1)</script>\n# title\x1b[31m[x](javascript:y)*z*"


def test_a_page_shows_names_and_runs_nothing():
    config = FuseConfig(
        ModelConfig(HOSTILE), DataConfig("d"), [SourceConfig(HOSTILE, name=HOSTILE)], ObjectiveConfig(preset="path")
    )
    page = fusion_page(fusion_record(config, 1.0, [HOSTILE]), [{"loss": 1.0, "step": 1}], ["losses.png"])
    for line in page.splitlines():
        assert line.startswith(("# Fusion into", "* ", "Objective", "loss", "![", "Data:")) or not line
    from markdown_it import MarkdownIt

    made = MarkdownIt().enable("table").render(page)
    for bad in ("<script", "<em>", 'javascript:y"', "<table", "\x1b", "<h1>title"):
        assert bad not in made
    assert made.count("<h1>") == 1
    assert "&lt;script&gt;" in made
    assert code("a``b") == "``` a``b ```"
    assert markdown("plain words") == "plain words"
    assert config.sources[0].label == one_line(HOSTILE)
    assert "\n" not in str(FusionError(HOSTILE))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sources+.name", "x"], "--sources+.name is no option; give a whole record: --sources+ '{model: x}'"),
        (["--pivot+.model", "x"], "--pivot+.model is no option; did you mean --pivot.model"),
        (["--train+.steps=3"], "--train+.steps is no option; did you mean --train.steps"),
        (["--sources++", "{model: a}"], "--sources++ is no option"),
        (["--pivot+", "{model: x}"], "--pivot+ is no option, as there is no list to add to; did you mean --pivot"),
        (["--train.steps+", "3"], "--train.steps+ is no option"),
        (["--pivot.model.x", "y"], "--pivot.model.x is no option; pivot.model takes one value"),
        (["--objective.terms.x", "3"], "--objective.terms.x is no option; objective.terms takes one value"),
        (["--runs", "a\0b"], "--runs is 'a\\x00b'; expected a path without null characters"),
        (["--runs", "x" * 300], "--runs is 'xxx"),
        (["--runs", "~nosuchuser/x"], "--runs is '~nosuchuser/x': there is no such home folder"),
        (["--config", "~nosuchuser/x"], "--config is '~nosuchuser/x': there is no such home folder"),
    ],
)
def test_flags_of_every_wrong_form_are_one_line(capsys, flags, message):
    assert fuse_command(flags) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("section", "field", "given"),
    [("pivot", "model", "pivot.model"), ("data", "train", "data.train"), ("data", "validation", "data.validation")],
)
def test_a_home_folder_that_is_not_there_is_one_line(tmp_path, capsys, section, field, given):
    content = {name: dict(GOOD[name]) for name in ("pivot", "data")} | {"sources": GOOD["sources"]}
    content[section][field] = "~nosuchuser/x"
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    assert fuse_command(["--config", str(tmp_path / "c.yaml")]) == 2
    assert f"{given} is '~nosuchuser/x': there is no such home folder" in capsys.readouterr().err


def test_every_path_of_the_user_goes_the_same_way(capsys):
    for path, why in (
        ("~nosuchuser/x", "no such home folder"),
        ("a/" * 3000, "no file system"),
        ("x" * 256, "so long"),
    ):
        with pytest.raises(FusionError, match=f"sources.cache is .*{why}"):
            SourceConfig("a", cache=path)
        assert report_command([path]) == 2
        assert why in capsys.readouterr().err
    assert ModelConfig("./~mine").model == os.path.abspath("~mine")
