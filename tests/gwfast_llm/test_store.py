"""Signals on disk: the same as online, resumable after a kill, and refused when foreign or damaged."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from gwfast_llm.cache import main as cache_command
from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.inspect import main as inspect_command
from gwfast_llm.models.loading import load_tokenizer
from gwfast_llm.system.errors import FusionError
from gwfast_llm.teachers import manifest, shards, store
from gwfast_llm.teachers.path import PathMap
from gwfast_llm.teachers.store import Identity, StoredSource, write_store
from gwfast_llm.text.examples import encode_all
from gwfast_llm.training.caching import check_disks
from gwfast_llm.training.fusion import fuse
from gwfast_llm.training.sources import identity_of, online_source

IDENTITY = Identity("m", "t", "c")


@pytest.fixture
def source(home, examples, monkeypatch):
    """Source B over all examples, with shards small enough that there are three."""
    monkeypatch.setattr(shards, "SHARD", 16)
    config = SourceConfig(str(home / "B"), name="B")
    tokenizer = load_tokenizer(config)
    return online_source(config, tokenizer, encode_all(examples, tokenizer), keep=0)


def opened(folder, source, keep=0, identity=IDENTITY, rows=None):
    return StoredSource("B", folder, source.tokenizer, source.rows if rows is None else rows, identity, keep)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float16", 4e-3), ("bfloat16", 4e-2)])
def test_what_is_read_is_what_the_model_said(source, tmp_path, dtype, tolerance):
    write_store(tmp_path / "s", source, IDENTITY, 10, dtype)
    stored = opened(tmp_path / "s", source, keep=7)
    order = [33, 2, 17, 2, 41]
    for i, found in zip(order, stored.signals(order), strict=True):
        block = range(i // 16 * 16, min(i // 16 * 16 + 16, len(source.rows)))
        expected = source.signals(block)[i - block.start]
        assert torch.equal(found.kept.ids, expected.kept.ids[:, :7])
        torch.testing.assert_close(found.kept.values, expected.kept.values[:, :7], rtol=0, atol=tolerance)
        assert torch.equal(found.gold, expected.gold)
        assert torch.equal(found.kept.logsumexp, expected.kept.logsumexp)


def test_size_is_what_was_said(source, tmp_path):
    write_store(tmp_path / "s", source, IDENTITY, 10, "float16")
    tokens = sum(len(row.ids) - row.prompt_length for row in source.rows)
    said = tokens * store.bytes_per_token(10, "float16")
    found = sum(path.stat().st_size for path in (tmp_path / "s").glob("*.safetensors"))
    assert said <= found <= said + 3 * 2000  # headers, first and keys of three shards


class Stops(Exception):
    """Stands for a kill."""


def test_stopped_store_goes_on_and_is_the_same(source, tmp_path):
    write_store(tmp_path / "whole", source, IDENTITY, 10, "float16")

    def stop(done, total):
        if done > 20:
            raise Stops

    with pytest.raises(Stops):
        write_store(tmp_path / "s", source, IDENTITY, 10, "float16", stop)
    with pytest.raises(FusionError, match=r"unfinished \(1 of 3 shards\)"):
        opened(tmp_path / "s", source)
    (tmp_path / "s" / "shard-00001.safetensors.partial").write_bytes(b"half")
    assert write_store(tmp_path / "s", source, IDENTITY, 10, "float16") == 2
    assert write_store(tmp_path / "s", source, IDENTITY, 10, "float16") == 0
    names = sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == names
    for name in names:
        assert (tmp_path / "s" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("how", ["truncated", "changed", "missing"])
def test_damaged_shard_is_named_and_rebuilt_alone(source, tmp_path, how):
    folder = tmp_path / "s"
    write_store(folder, source, IDENTITY, 4, "float16")
    path = folder / "shard-00001.safetensors"
    good = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(good[:-10] if how == "truncated" else good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(FusionError, match=r"shard-00001\.safetensors is damaged or missing"):
        opened(folder, source)
    assert write_store(folder, source, IDENTITY, 4, "float16") == 1
    assert path.read_bytes() == good
    assert opened(folder, source).signals([20])


@pytest.mark.parametrize("what", ["model", "tokenizer", "template"])
def test_foreign_store_is_refused_by_name(source, tmp_path, what):
    write_store(tmp_path, source, IDENTITY, 4, "float16")
    with pytest.raises(FusionError, match=f"made with another {what};"):
        opened(tmp_path, source, identity=dataclasses.replace(IDENTITY, **{what: "x"}))
    with pytest.raises(FusionError, match=rf"something else \({what} differ\)"):
        write_store(tmp_path, source, dataclasses.replace(IDENTITY, **{what: "x"}), 4, "float16")


def test_other_data_other_settings_and_no_store_are_refused(source, tmp_path, examples):
    write_store(tmp_path / "s", source, IDENTITY, 4, "float16")
    with pytest.raises(FusionError, match=r"keeps 4 logits a token, objective.source_top_k is 5"):
        opened(tmp_path / "s", source, keep=5)
    changed = [dataclasses.replace(examples[0], response=" zzz."), *examples[1:]]
    # cache itself would refuse this folder: it is told where to go instead
    with pytest.raises(FusionError, match=r"lacks 1 of 42 examples, the first is number 0; .* into another folder"):
        opened(tmp_path / "s", source, rows=encode_all(changed, source.tokenizer))
    assert opened(tmp_path / "s", source, rows=source.rows[::-1][:5]).signals([0])
    with pytest.raises(FusionError, match=r"\(keep differ\)"):
        write_store(tmp_path / "s", source, IDENTITY, 5, "float16")
    with pytest.raises(FusionError, match="there is no cache at"):
        opened(tmp_path / "nowhere", source)
    (tmp_path / "s" / "manifest.json").write_text("{")
    with pytest.raises(FusionError, match="damaged"):
        opened(tmp_path / "s", source)


def test_full_disk_keeps_what_was_computed(source, tmp_path, monkeypatch):
    real, calls = shards.save_file, []

    def save(tensors, path):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(shards, "save_file", save)
    with pytest.raises(FusionError, match="is full; finished shards are kept"):
        write_store(tmp_path, source, IDENTITY, 4, "float16")
    assert write_store(tmp_path, source, IDENTITY, 4, "float16") == 2
    assert not list(tmp_path.glob("*.partial"))


def test_memory_running_out_names_the_source(source, tmp_path, monkeypatch):
    def burst(*args, **kwargs):
        raise torch.OutOfMemoryError("burst")

    monkeypatch.setattr(type(source.model.base_model), "forward", burst)
    with pytest.raises(FusionError, match="source B: out of memory on 16 examples"):
        write_store(tmp_path, source, IDENTITY, 4, "float16")

    def small(*args, **kwargs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99999 bytes.")

    monkeypatch.setattr(type(source.model.base_model), "forward", small)
    with pytest.raises(FusionError, match="source B: out of memory on 16 examples"):
        write_store(tmp_path, source, IDENTITY, 4, "float16")


def test_fingerprints_see_weights_rules_and_template(home, tmp_path):
    config = SourceConfig(str(home / "A"))
    tokenizer = load_tokenizer(config)
    before = identity_of(config, tokenizer)
    tokenizer(["some", "longer text"], padding=True, truncation=True, max_length=2)
    assert identity_of(config, tokenizer) == before  # use does not change it
    shutil.copytree(home / "A", tmp_path / "A")
    moved = SourceConfig(str(tmp_path / "A"))
    assert identity_of(moved, load_tokenizer(moved)) == before  # nor does the place
    weights = tmp_path / "A" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert identity_of(moved, tokenizer).model != before.model
    tokenizer.chat_template = "{{ messages }}"
    assert identity_of(config, tokenizer).template != before.template
    assert identity_of(config, load_tokenizer(SourceConfig(str(home / "B")))).tokenizer != before.tokenizer


# --- the command


def configuration(home, folder, cached):
    sources = [SourceConfig(str(home / n), name=n, cache=str(folder / f"cache-{n}") if cached else "") for n in "AB"]
    return FuseConfig(
        ModelConfig(str(home / "pivot")),
        DataConfig(str(home / "train.jsonl"), str(home / "held-out.jsonl"), max_length=96, end_token=False),
        sources,
        ObjectiveConfig(preset="custom", path=1.0, uld=0.5, gld=0.1, hybrid=0.5, source_top_k=20),
        TrainConfig(steps=4, batch_size=8, lr=1e-2, log_every=1, eval_every=2, interval_every=2, diagnose=0, samples=0),
    )


def written(config, path):
    import yaml

    content = config.as_dict()
    path.write_text(yaml.safe_dump(content))
    return path


# half precision stores a log-probability near -4 to 2e-3, which the small values of GLD see as such
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", (1e-5, 1e-7)), ("float16", (2e-3, 1e-3))])
def test_cached_training_is_online_training(home, tmp_path, capsys, dtype, tolerance):
    config = configuration(home, tmp_path, cached=True)
    path = written(config, tmp_path / "c.yaml")
    assert cache_command(["--config", str(path), "--dtype", dtype]) == 0
    said = capsys.readouterr().out
    assert "source A: 42 examples" in said
    assert "answer tokens" in said
    online = fuse(configuration(home, tmp_path, cached=False), lambda done, total: None)
    cached = fuse(config, lambda done, total: None)
    for a, b in zip(online.metrics, cached.metrics, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            if name not in ("grad_norm", "gw_lower"):
                assert a[name] == pytest.approx(b[name], rel=tolerance[0], abs=tolerance[1]), name


def test_inspect_says_what_is_cached(home, tmp_path, capsys):
    path = written(configuration(home, tmp_path, cached=True), tmp_path / "c.yaml")

    def said():
        assert inspect_command(["--config", str(path)]) == 0
        return next(line for line in capsys.readouterr().out.splitlines() if "cache" in line and "source A" in line)

    assert "yet; it will take 67.6 kB, its targets take at most 88.7 kB more: python -m gwfast_llm.cache" in said()
    assert cache_command(["--config", str(path)]) == 0
    capsys.readouterr()
    assert said().endswith("fits and is whole")
    shutil.rmtree(next((tmp_path / "cache-A").glob("targets-*")))
    assert said().endswith("whole; its targets take at most 88.7 kB more, not yet there: python -m gwfast_llm.cache")


def test_targets_are_carried_once(home, tmp_path, monkeypatch):
    config = configuration(home, tmp_path, cached=True)
    assert cache_command(["--config", str(written(config, tmp_path / "c.yaml"))]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(PathMap, "targets", None)
        stored = fuse(config, lambda done, total: None)
    assert not [note for note in stored.notes if "carried" in note]
    for name in "AB":
        shutil.rmtree(next((tmp_path / f"cache-{name}").glob("targets-*")))
    carried = fuse(config, lambda done, total: None)
    assert len([note for note in carried.notes if "carried along the text while training" in note]) == 2
    # half precision rounds the probabilities once more
    for a, b in zip(stored.metrics, carried.metrics, strict=True):
        for name in ("loss", "path", "sft"):
            if name in a:
                assert a[name] == pytest.approx(b[name], rel=2**-11), name


def test_killed_caching_resumes_to_the_same_bytes(home, tmp_path, examples):
    from gwfast_llm.text.reading import write_examples
    from gwfast_llm.tiny.tasks import draw_each

    many = [dataclasses.replace(examples[0], prompt=p.prompt, response=p.response) for p in draw_each("MND", 600, 5)]
    write_examples(tmp_path / "many.jsonl", many)
    base = configuration(home, tmp_path, cached=True)
    data = dataclasses.replace(base.data, train=str(tmp_path / "many.jsonl"), validation="")
    one = dataclasses.replace(base.sources[0], cache=str(tmp_path / "killed"))
    train = dataclasses.replace(base.train, eval_every=0, interval_every=0)
    config = dataclasses.replace(base, data=data, sources=[one], train=train)
    path = written(config, tmp_path / "c.yaml")
    line = [sys.executable, "-m", "gwfast_llm.cache", "--config", str(path)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(line, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    manifest = tmp_path / "killed" / "manifest.json"
    deadline = time.monotonic() + 100
    while not manifest.is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(json.loads(manifest.read_text())["shards"])
    assert 1 <= done < 8
    assert cache_command(["--config", str(path)]) == 0
    other = dataclasses.replace(config, sources=[dataclasses.replace(one, cache=str(tmp_path / "whole"))])
    assert cache_command(["--config", str(written(other, tmp_path / "d.yaml"))]) == 0
    files = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    assert len(files) == 2 * 9 + 2  # shards and manifest, of the signals and of the targets; the tokenizer
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--dtype", "int8"], "--dtype is 'int8'"),
        (["--sources", "[]", "--objective.preset", "sft", "--objective.path", "0"], "sources is empty"),
    ],
)
def test_mistakes_get_one_line(home, tmp_path, capsys, change, message):
    config = dataclasses.replace(configuration(home, tmp_path, cached=True), objective=ObjectiveConfig())
    path = written(config, tmp_path / "c.yaml")
    assert cache_command(["--config", str(path), *change]) == 2
    assert message in capsys.readouterr().err


def test_no_room_is_said_before_anything_is_computed(home, tmp_path, capsys, monkeypatch):
    path = written(configuration(home, tmp_path, cached=True), tmp_path / "c.yaml")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("gwfast_llm.training.caching.shutil.disk_usage", lambda path: usage._replace(free=1000))
    assert cache_command(["--config", str(path)]) == 2
    assert "1.0 kB are free" in capsys.readouterr().err
    assert not list(tmp_path.glob("cache-*"))


def test_room_is_counted_disk_by_disk_without_what_is_there(home, tmp_path, capsys, monkeypatch):
    path = written(configuration(home, tmp_path, cached=True), tmp_path / "c.yaml")
    assert cache_command(["--config", str(path)]) == 0
    size = sum(p.stat().st_size for p in tmp_path.glob("cache-*/*.safetensors"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("gwfast_llm.training.caching.shutil.disk_usage", lambda path: usage._replace(free=1000))
    assert cache_command(["--config", str(path)]) == 0  # complete: needs no more room
    capsys.readouterr()

    def status(path, device):
        fields = list(os.stat_result(real(path)))
        fields[2] = device
        return os.stat_result(fields)

    real = os.stat
    monkeypatch.setattr(
        "gwfast_llm.training.caching.shutil.disk_usage", lambda p: usage._replace(free=0 if "two" in str(p) else size)
    )
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    check_disks([(tmp_path / "one" / "a", size), (tmp_path / "two" / "b", 0)], 20)
    monkeypatch.setattr(type(tmp_path), "stat", lambda self, **_: status(self, 7 if "two" in str(self) else 6))
    with pytest.raises(FusionError, match=r"5 B are needed at 20 logits a token, 0 B are free at .*two; give folders"):
        check_disks([(tmp_path / "one" / "a", size), (tmp_path / "two" / "b", 5)], 20)


def test_one_process_a_machine_reads_every_shard(source, tmp_path, monkeypatch):
    write_store(tmp_path, source, IDENTITY, 4, "float16")
    read = []
    real = manifest.digest
    monkeypatch.setattr(manifest, "digest", lambda path: read.append(path.name) or real(path))
    opened(tmp_path, source)
    assert len(read) == 3
    monkeypatch.setenv("LOCAL_RANK", "1")
    second = opened(tmp_path, source)
    assert len(read) == 3
    assert second.signals([20])
    path = tmp_path / "shard-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FusionError, match="damaged or missing"):  # a shard cut short is seen by every process
        opened(tmp_path, source)


def test_cache_without_configuration_or_folder(home, tmp_path, capsys):
    assert cache_command([]) == 2
    assert "--config is missing" in capsys.readouterr().err
    path = written(configuration(home, tmp_path, cached=False), tmp_path / "c.yaml")
    assert cache_command(["--config", str(path)]) == 2
    assert "A, B has no cache folder" in capsys.readouterr().err
