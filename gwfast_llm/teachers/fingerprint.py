"""Short hashes that tell whether two runs would see the same model, tokenizer, template and example."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gwfast_llm.config import ModelConfig
from gwfast_llm.system.records import read_object
from gwfast_llm.text.examples import Encoded, Example

EDGE = 2**20  # bytes hashed at either end of a weight file


def _short(*pieces: bytes) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "big"))
        digest.update(piece)
    return digest.hexdigest()[:16]


def model_fingerprint(config: ModelConfig) -> str:
    """Hash of a model: its config, and name, size, first and last MiB of every weight file.

    Parameters
    ----------
    config : ModelConfig
        A folder, or a hub name that has been downloaded.

    Returns
    -------
    str
        16 hexadecimal digits.

    Notes
    -----
    Cost: reads at most 2 MiB a weight file.  A change in the middle of a file that keeps its size goes unseen.
    """
    folder = Path(config.model)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(config.model, local_files_only=True))
    # the record of who wrote the file and where it lay is not the model
    settings = read_object(folder / "config.json", "copy or download the model again")
    for name in ("_name_or_path", "transformers_version"):
        settings.pop(name, None)
    pieces = [json.dumps(settings, sort_keys=True).encode(), config.dtype.encode()]
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(EDGE)
            file.seek(max(0, size - EDGE))
            pieces += [path.name.encode(), str(size).encode(), first, file.read(EDGE)]
    return _short(*pieces)


def name_fingerprint(*names: str) -> str:
    """Hash of what something is called, where there is nothing else to look at."""
    return _short(*(name.encode() for name in names))


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Hash of the rules and the vocabulary of a fast tokenizer.

    Truncation and padding are left out: calling a tokenizer changes them.
    """
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    for name in ("truncation", "padding"):
        rules.pop(name, None)
    return _short(json.dumps(rules, sort_keys=True).encode())


def template_fingerprint(tokenizer: Any) -> str:
    """Hash of the chat template; that of nothing where there is none."""
    return _short(str(tokenizer.chat_template or "").encode())


def row_key(*rows: Encoded) -> int:
    """Key of an example under these tokenizers: 63 bits of a hash of its ids and of where its answer starts."""
    text = ";".join(",".join(map(str, [row.prompt_length, *row.ids])) for row in rows)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def data_fingerprint(keys: Iterable[int]) -> str:
    """Hash of a whole data set, in order."""
    return _short(",".join(map(str, keys)).encode())


def head_fingerprint(head: dict[str, Any]) -> str:
    """Hash of what something depends on."""
    return _short(json.dumps(head, sort_keys=True).encode())


def examples_fingerprint(examples: Iterable[Example]) -> str:
    """Hash of the texts of a data set, in order."""
    return _short(
        *(repr((e.prompt, e.response, e.messages, *([e.tools] if e.tools else ()))).encode() for e in examples)
    )
