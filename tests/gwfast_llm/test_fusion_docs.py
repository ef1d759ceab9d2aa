"""The pages on fusion: paragraphs and lines of code that can be read, a table of memory that is that of inspect."""

import re
from pathlib import Path

import pytest
from transformers import Qwen2Config

from gwfast_llm.command_line.parser import config_parser, parse
from gwfast_llm.models.shape import shape_of
from gwfast_llm.reports.memory import copied, memory_of, sharded, table

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("fusion*.md"))
SHOWN = [*(ROOT / "examples").glob("*.yaml"), *(ROOT / "examples" / "accelerate").glob("*.yaml")]
LONGEST_LINE, LONGEST_PARAGRAPH = 88, 600


def parts(path):
    """Lines inside fences, and paragraphs outside: an item of a list or a row of a table is one of its own."""
    code, prose, inside = [], [""], False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = not inside
            prose.append("")
        elif inside:
            code.append(line)
        elif not line.strip() or re.match(r"[-*|#]|\d+\.", line):
            prose.append(line)
        else:
            prose[-1] += line
    return code, prose


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_can_be_read(path):
    code, prose = parts(path)
    assert [line for line in code if len(line) > LONGEST_LINE] == []
    assert [text[:60] for text in prose if len(text) > LONGEST_PARAGRAPH] == []


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.name)
def test_examples_that_pages_show_can_be_read(path):
    assert [line for line in path.read_text().splitlines() if len(line) > LONGEST_LINE] == []


def test_the_table_of_memory_is_that_of_inspect(tmp_path):
    _, config = parse(config_parser("fuse", ""), ["--config", str(ROOT / "examples" / "small_pivot.yaml")])
    assert config is not None
    Qwen2Config(  # the sizes of Qwen2.5-3B
        architectures=["Qwen2ForCausalLM"],
        vocab_size=151936,
        hidden_size=2048,
        intermediate_size=11008,
        num_hidden_layers=36,
        num_attention_heads=16,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        dtype="bfloat16",
    ).save_pretrained(tmp_path)
    shape = shape_of(type(config.pivot)(str(tmp_path), config.pivot.dtype), config.lora)
    alone = memory_of(config, shape, [config.data.max_length] * config.train.batch_size)
    columns = {
        "1 GPU": alone,
        "8 GPUs, copies": copied(alone, 8),
        "8 GPUs, shards": sharded(alone, config, shape, 8),
    }
    page = (ROOT / "docs" / "fusion_quickstart.md").read_text()
    assert "\n".join(table(columns)) in page, "\n".join(table(columns))
