"""Models merged from files to files: against entry-by-entry references, whole or not at all; and the command."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gwfast_llm.config import DataConfig as Data
from gwfast_llm.config import FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig
from gwfast_llm.models.loading import load_model
from gwfast_llm.models.merging import Recipe, loss_weights, merge_folders, merged
from gwfast_llm.system.errors import FusionError


def tensors(seed, *shape, kind=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64).to(kind)


def reference(base, models, recipe):
    """One entry after the other."""
    base, models = base.double().numpy(), [m.double().numpy() for m in models]
    gaps = [m - base for m in models]
    kept = []
    for gap in gaps:
        order = np.argsort(-np.abs(gap).ravel(), kind="stable")[: max(1, round(recipe.density * gap.size))]
        own = np.zeros(gap.size)
        own[order] = gap.ravel()[order]
        kept.append(own.reshape(gap.shape))
    found = np.zeros_like(base)
    for at in np.ndindex(base.shape):
        if recipe.method == "linear":
            found[at] = sum(w * m[at] for w, m in zip(recipe.weights, models))
        elif recipe.method == "task_arithmetic":
            found[at] = base[at] + recipe.scale * sum(w * g[at] for w, g in zip(recipe.weights, gaps))
        else:
            total = sum(w * g[at] for w, g in zip(recipe.weights, kept))
            same = [(w, g[at]) for w, g in zip(recipe.weights, kept) if g[at] * total > 0]
            mean = sum(w * g for w, g in same) / sum(w for w, _ in same) if same else 0.0
            found[at] = base[at] + recipe.scale * mean
    return found


@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "ties"])
def test_a_tensor_is_merged_as_defined(method):
    base, models = tensors(0, 5, 7), [tensors(k, 5, 7) for k in (1, 2, 3)]
    recipe = Recipe(method, (0.5, 0.3, 0.2), 0.8, 0.4)
    np.testing.assert_allclose(merged(base, models, recipe).numpy(), reference(base, models, recipe), rtol=1e-12)
    alone = Recipe(method, (1.0,), 1.0, 1.0)
    torch.testing.assert_close(merged(base, models[:1], alone), models[0])  # one model is itself


def test_weights_follow_the_losses():
    weights = loss_weights([1.2, 1.0, 5.0], 0.1)
    assert sum(weights) == pytest.approx(1)
    assert weights[1] / weights[0] == pytest.approx(np.exp(2.0))
    assert loss_weights([1000.0, 1001.0], 1e-3) == (1.0, 0.0)


def folder(path, content, sharded=False):
    path.mkdir()
    (path / "config.json").write_text(f'{{"of": "{path.name}"}}')
    if not sharded:
        save_file(content, path / "model.safetensors", metadata={"format": "pt"})
        return path
    names = sorted(content)
    where = {}
    for k, own in enumerate((names[:2], names[2:]), 1):
        file = f"model-0000{k}-of-00002.safetensors"
        save_file({name: content[name] for name in own}, path / file, metadata={"format": "pt"})
        where |= dict.fromkeys(own, file)
    index = {"metadata": {"total_size": 0}, "weight_map": where}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


@pytest.mark.parametrize("sharded", [False, True])
def test_files_are_merged_whole_or_not_at_all(tmp_path, sharded):
    def content(seed):
        return {
            "a": tensors(seed, 3, 4, kind=torch.float32),
            "b": tensors(seed + 10, 6, kind=torch.bfloat16),
            "c.empty": torch.zeros(0, 2),
            "d.count": torch.arange(3),
        }

    folders = [folder(tmp_path / f"m{k}", content(k), sharded) for k in range(3)]
    recipe = Recipe("ties", (0.7, 0.3), 1.0, 0.5)
    merge_folders(folders[0], folders[1:], tmp_path / "out", recipe)
    found = {}
    for path in sorted((tmp_path / "out").glob("*.safetensors")):
        found |= load_file(path)  # the library reads what was streamed
    assert json.loads((tmp_path / "out" / "config.json").read_text())["of"] == "m1"
    base, one, two = (content(k) for k in range(3))
    assert found.keys() == base.keys()
    for name in ("a", "b"):
        assert torch.equal(found[name], merged(base[name], [one[name], two[name]], recipe))
        assert found[name].dtype == base[name].dtype
    assert torch.equal(found["d.count"], base["d.count"])
    if sharded:
        index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
        assert index["weight_map"].keys() == found.keys()

    other = content(4) | {"a": torch.zeros(3, 5)}
    bad = folder(tmp_path / "bad", other)
    for models, message in (
        ([folders[1], bad], "a has shape [3, 4] in"),
        ([folders[1], folder(tmp_path / "less", {"a": base["a"]})], "b is not in both"),
    ):
        with pytest.raises(FusionError, match="merge: ") as said:
            merge_folders(folders[0], models, tmp_path / "none", recipe)
        assert message in str(said.value)
        assert not (tmp_path / "none").exists()
    with pytest.raises(FusionError, match="starts from the model"):
        merge_folders(None, folders[1:], tmp_path / "none", recipe)


def test_the_command_fuses_once_a_source_and_merges(fuse_here, home, tmp_path):
    sources = json.dumps([{"model": str(home / name), "name": name} for name in "AB"])
    options = {"combine": "merge", "merge": "task_arithmetic", "source_top_k": 0}
    code, said = fuse_here("--sources", sources, objective=options, steps=2, log_every=1)
    assert code == 0, said
    run = tmp_path / "runs" / "r"
    record, page = json.loads((run / "run.json").read_text()), (run / "report.md").read_text()
    weights = record["recipe"]["weights"]
    assert weights == pytest.approx(loss_weights(record["losses"], 0.1))
    assert "| merged (task_arithmetic) |" in page
    assert "fused with B alone" in page
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    names = {row["objective"] for row in rows if "objective" in row}
    assert "merged by task_arithmetic" in (run / "model" / "README.md").read_text()
    assert {"source-1", "source-2"} <= names
    assert sorted(path.name for path in run.iterdir()) == [
        ".gwfast-run", "config.json", "metrics.jsonl", "model", "report.md", "run.json",
    ]  # fmt: skip
    assert load_model(ModelConfig(str(run / "model"))).config.vocab_size

    with pytest.raises(FusionError, match=r"objective\.combine is 'merge'"):
        FuseConfig(ModelConfig("x"), Data("y"), [SourceConfig("z")], ObjectiveConfig(combine="merge"))
