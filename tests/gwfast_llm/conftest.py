"""Small tokenizers and models made on the spot; no network is ever asked."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory):
    """One cache folder for the whole session, so that models are built once."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("GWFAST_CACHE")
    os.environ["GWFAST_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["GWFAST_CACHE"]
    else:
        os.environ["GWFAST_CACHE"] = before


@pytest.fixture(scope="session")
def tokenizers():
    """Pivot, source A and source B tokenizers of the embedded default."""
    from gwfast_llm.tiny.build import build_tokenizer
    from gwfast_llm.tiny.recipes import PIVOT_PIECES, SYLLABLES, WHOLE_WORDS

    return build_tokenizer(PIVOT_PIECES), build_tokenizer(WHOLE_WORDS), build_tokenizer(SYLLABLES)


@pytest.fixture(scope="session")
def examples():
    """Forty-two problems as examples, six of each fused task."""
    from gwfast_llm.data import Example
    from gwfast_llm.tiny.tasks import draw_each

    return [Example(p.prompt, p.response, p.task, p.log_prob) for p in draw_each("MNABDSL", 6, seed=1)]
