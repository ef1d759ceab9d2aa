"""Small tokenizers and models made on the spot; no network is ever asked."""

import dataclasses
import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch

from fusing import command, config_file

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizers():
    """Pivot, source A and source B tokenizers of the embedded default."""
    from gwfast_llm.tiny.build import build_tokenizer
    from gwfast_llm.tiny.recipes import PIVOT_PIECES, SYLLABLES, WHOLE_WORDS

    return build_tokenizer(PIVOT_PIECES), build_tokenizer(WHOLE_WORDS), build_tokenizer(SYLLABLES)


@pytest.fixture(scope="session")
def examples():
    """Forty-two problems as examples, six of each fused task."""
    from gwfast_llm.text.examples import Example
    from gwfast_llm.tiny.tasks import draw_each

    return [Example(p.prompt, p.response, p.task, p.log_prob) for p in draw_each("MNABDSL", 6, seed=1)]


@pytest.fixture(scope="session")
def home(tmp_path_factory, tokenizers, examples):
    """Folder with a pivot, two sources and two data files."""
    from gwfast_llm.text.reading import write_examples
    from gwfast_llm.tiny.build import initial_model
    from gwfast_llm.tiny.recipes import pivot, sources

    folder = tmp_path_factory.mktemp("models")
    for recipe, tokenizer in zip((pivot(), *sources()), tokenizers, strict=True):
        small = dataclasses.replace(recipe, hidden_size=16, layers=1)
        initial_model(small, tokenizer).save_pretrained(folder / recipe.name)
        tokenizer.save_pretrained(folder / recipe.name)
    write_examples(folder / "train.jsonl", examples[:32])
    write_examples(folder / "held-out.jsonl", examples[32:])
    return folder


@pytest.fixture(scope="session")
def whole_run(home, tmp_path_factory):
    """Folder of an undisturbed run of the fuse command in one process."""
    folder = tmp_path_factory.mktemp("whole")
    done = command("--config", config_file(folder / "c.yaml", home, 12), "--runs", folder, "--name", "r")
    assert done.returncode == 0, done.stderr
    return folder / "r"


@pytest.fixture
def fuse_here(home, tmp_path, capfd):
    """Runs the fuse command in this process; gives exit code and what it said on standard error."""

    import yaml

    from gwfast_llm.fuse import main

    def call(*flags, name="r", objective=None, **train):
        train = {
            "steps": 6,
            "batch_size": 4,
            "lr": 3e-3,
            "log_every": 4,
            "diagnose": 0,
            "samples": 0,
            "eval_every": 0,
            **train,
        }
        content = {
            "pivot": {"model": str(home / "pivot")},
            "sources": [{"model": str(home / "A"), "name": "A"}],
            "data": {
                "train": str(home / "train.jsonl"),
                "validation": str(home / "held-out.jsonl"),
                "max_length": 96,
                "end_token": False,
            },
            "objective": objective or {"source_top_k": 0},
            "train": train,
        }
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump(content))
        code = main(["--config", str(path), "--runs", str(tmp_path / "runs"), "--name", name, *flags])
        return code, capfd.readouterr().err

    return call
