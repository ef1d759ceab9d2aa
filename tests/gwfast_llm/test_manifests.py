"""Stores that others made, damaged or changed: one line each, never a signal, and nothing outside the folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file

from gwfast_llm.system.cache_folder import built_once, cache_folder
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.locks import held
from gwfast_llm.system.records import digest
from gwfast_llm.teachers import shards
from gwfast_llm.teachers.manifest import MANIFEST, missing_bytes, read_manifest
from gwfast_llm.teachers.shards import Shards, write_shards

HEAD = {"source": "A", "keep": 3, "dtype": "float32"}
KEYS = list(range(40))


def make(run):
    """Two rows an example."""
    first = 2 * torch.arange(len(run) + 1)
    rows = torch.arange(2 * run.start, 2 * run.stop)
    return {"values": rows[:, None].float().expand(-1, 3).contiguous(), "first": first, "keys": torch.tensor(list(run))}


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of three shards."""
    monkeypatch.setattr(shards, "SHARD", 16)
    write_shards(tmp_path / "s", HEAD, KEYS, make)
    return tmp_path / "s"


def opened(store):
    return Shards("source A", store, read_manifest(store), ("values",))


def one_line(call, *arguments):
    with pytest.raises(FusionError) as problem:
        call(*arguments)
    assert len(str(problem.value).splitlines()) == 1, problem.value
    assert len(str(problem.value)) < 600
    return str(problem.value)


SHARD = "shard-00001.safetensors"
RECORD = {"sha256": "0" * 64, "bytes": 3}
BAD = [
    b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff\xfe", b"[" * 10**5, b'{"format": 1}', b"9" * 5000, b'{"format": 2}',
    b'{"format": [1]}', b'{"format": "1\\n2"}',
]  # fmt: skip
CHANGES = [
    {"examples": -1}, {"examples": None}, {"examples": "40"}, {"examples": 4.5}, {"examples": True},
    {"examples": 10**400},
    {"examples_a_shard": 0}, {"examples_a_shard": -16}, {"keep": []}, {"keep": -3}, {"model": 3}, {"dtype": None},
    {"shards": None}, {"shards": []}, {"shards": {SHARD: None}}, {"shards": {SHARD: []}}, {"shards": {SHARD: {}}},
    {"shards": {SHARD: {**RECORD, "bytes": -1}}}, {"shards": {SHARD: {**RECORD, "bytes": 1e999}}},
    {"shards": {SHARD: {**RECORD, "sha256": 7}}}, {"shards": {SHARD: {**RECORD, "sha256": "z" * 64}}},
    {"shards": {"../s/" + SHARD: RECORD}}, {"shards": {"/etc/passwd": RECORD}}, {"shards": {"..": RECORD}},
    {"shards": {"a/" + SHARD: RECORD}}, {"shards": {"shard-00009.safetensors": RECORD}}, {"shards": {"": RECORD}},
    {"shards": {"shard-000001.safetensors": RECORD}}, {"shards": {SHARD + "\n": RECORD}},
    {"shards": {"shard-" + "9" * 5000 + ".safetensors": RECORD}}, {"shards": {"shard-٠٠٠٠١.safetensors": RECORD}},
]  # fmt: skip


def test_manifests_of_any_shape_are_one_line(store):
    path = store / MANIFEST
    good = json.loads(path.read_text())
    contents = BAD + [json.dumps({**good, **change}).encode() for change in CHANGES]
    contents += [json.dumps({k: v for k, v in good.items() if k != name}).encode() for name in ("examples", "shards")]
    for content in contents:
        path.write_bytes(content)
        for call in (
            opened,
            lambda folder: missing_bytes(folder, 9),
            lambda folder: write_shards(folder, HEAD, KEYS, make),
        ):
            said = one_line(call, store)
            assert str(store) in said
    path.unlink()
    path.mkdir()
    assert "cannot be read" in one_line(opened, store)


def test_a_shard_that_is_a_link_out_of_the_folder_is_refused(store, tmp_path):
    shutil.move(store / SHARD, tmp_path / "elsewhere")
    (store / SHARD).symlink_to(tmp_path / "elsewhere")
    assert f"{SHARD} is a link out of the folder" in one_line(opened, store)


def test_the_folder_may_be_a_link_but_not_to_nothing(store, tmp_path):
    (tmp_path / "link").symlink_to(store)
    assert write_shards(tmp_path / "link", HEAD, KEYS, make) == 0
    assert opened(tmp_path / "link").rows(20, ["values"])[0].shape == (2, 3)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert "a link to nothing is in its way" in one_line(write_shards, tmp_path / "gone", HEAD, KEYS, make)
    (tmp_path / "file").write_text("mine")
    assert "file is not to be made" in one_line(write_shards, tmp_path / "file", HEAD, KEYS, make)
    assert "cannot write to" in one_line(write_shards, tmp_path / "file" / "s", HEAD, KEYS, make)
    assert (tmp_path / "file").read_text() == "mine"


def rewritten(store, change):
    """Put another content in a shard, under a manifest that says so."""
    change(store / SHARD)
    path = store / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["shards"][SHARD] = {"sha256": digest(store / SHARD), "bytes": (store / SHARD).stat().st_size}
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: path.write_bytes((2).to_bytes(8, "little") + b"[]"),
        lambda path: path.write_bytes((10**5).to_bytes(8, "little") + b"[" * 10**5),
        lambda path: save_file({"values": torch.zeros(3)}, path),
        lambda path: save_file({**make(range(16, 32)), "first": torch.arange(5)}, path),
        lambda path: save_file({**make(range(16, 32)), "first": -2 * torch.arange(17)}, path),
        lambda path: save_file({**make(range(16, 32)), "values": torch.zeros(2, 3, dtype=torch.float64)}, path),
    ],
)
def test_shards_of_another_make_are_one_line(store, change):
    rewritten(store, change)
    assert SHARD in one_line(opened, store)


def test_rows_that_are_not_there_are_one_line(store):
    rewritten(store, lambda path: save_file({**make(range(16, 32)), "values": torch.zeros(5, 3)}, path))
    found = opened(store)
    assert "has no rows" in one_line(found.rows, 31, ["values"])


CHANGED = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "flipped": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x07"),
    "removed": lambda path: path.unlink(),
    "replaced": lambda path: shutil.copy(path.with_name("shard-00000.safetensors"), path),
}


@pytest.mark.parametrize("how", CHANGED)
def test_a_store_that_changes_while_it_is_read_is_one_line(store, how):
    found = opened(store)
    assert found.rows(31, ["values"])[0][0, 0] == 62
    CHANGED[how](store / SHARD)
    said = one_line(found.rows, 31, ["values"])
    assert SHARD in said
    assert "it rebuilds only this shard" in said
    assert found.rows(3, ["values"])[0][0, 0] == 6  # the others are as they were


def test_the_same_bytes_again_are_the_same_store(store, tmp_path):
    found = opened(store)
    shutil.copy(store / SHARD, tmp_path / "copy")
    os.replace(tmp_path / "copy", store / SHARD)
    assert found.rows(31, ["values"])[0][0, 0] == 62


def test_a_store_is_written_by_one_process(store, tmp_path):
    lock = tmp_path / "t" / shards.LOCK
    lock.parent.mkdir()
    with held(lock, "it", "wait"):
        said = one_line(write_shards, tmp_path / "t", HEAD, KEYS, make)
    assert "t is being written by process" in said
    assert write_shards(tmp_path / "t", HEAD, KEYS, make) == 3
    assert not lock.exists()


def test_only_what_a_killed_process_left_is_removed(store):
    (store / SHARD).unlink()
    for name in ("movie.mkv.partial", ".shard-00001.safetensors.partial.safetensors", ".manifest.json.partial.json"):
        (store / name).write_text("x")
    assert write_shards(store, HEAD, KEYS, make) == 1
    assert sorted(p.name for p in store.iterdir() if "partial" in p.name) == ["movie.mkv.partial"]


# --- the folder of built models


def test_folders_that_cannot_hold_built_models_are_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for name in ("file", "file/below", "gone"):
        monkeypatch.setenv("GWFAST_CACHE", str(tmp_path / name))
        found = one_line(lambda: built_once(cache_folder() / "tiny" / "A-1", lambda folder: None))
        assert f"{tmp_path / name}/tiny, cannot be made (" in found
        assert "set GWFAST_CACHE to a folder that can be written to" in found
    assert (tmp_path / "file").read_text() == "mine"
    monkeypatch.delenv("GWFAST_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("gwfast_llm.system.cache_folder.Path.home", homeless)
    assert "there is no home folder; set GWFAST_CACHE" in one_line(cache_folder)


def test_a_built_model_is_built_once_whole_and_again_where_it_changed(tmp_path):
    target, built = tmp_path / "tiny" / "A-1", []

    def build(folder):
        built.append(folder)
        (folder / "weights").write_text("w" * 9)

    for _ in range(2):
        assert built_once(target, build) == target
    assert len(built) == 1
    for spoil in (lambda: (target / "weights").write_text("w" * 8 + "x"), (target / "whole").unlink):
        spoil()
        built_once(target, build)
        assert (target / "weights").read_text() == "w" * 9
    assert len(built) == 3
    shutil.rmtree(target)
    half = target.with_name(".A-1.partial")
    half.mkdir()
    (half / "weights").write_text("of a killed process")
    built_once(target, build)
    assert [path.name for path in target.parent.iterdir()] == ["A-1"]

    def fail(folder):
        (folder / "weights").write_text("ha")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        built_once(tmp_path / "tiny" / "B-1", fail)
    assert [path.name for path in target.parent.iterdir()] == ["A-1"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "tiny" / "C-1").symlink_to(tmp_path / "mine")
    assert "is a link, where a built model belongs" in one_line(built_once, tmp_path / "tiny" / "C-1", build)


# --- worker processes

PARENT = """
import sys
from gwfast_llm.system.workers import Job, Workers
from worker_job import wait
if __name__ == "__main__":
    with Workers(2) as workers:
        workers.run([Job("a", wait, (sys.argv[1] + "/a",), 1.0), Job("b", wait, (sys.argv[1] + "/b",), 1.0)],
                    lambda *a: None, lambda: None)
"""
JOB = """
import os, time
def wait(path, progress):
    with open(path + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".new", path)
    time.sleep(300)
"""


def alive(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="asks /proc which processes live")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "worker_job.py").write_text(JOB)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), os.getcwd()])}
    line = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)]
    parent = subprocess.Popen(line, env=env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while not all((tmp_path / name).exists() for name in "ab"):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = [int((tmp_path / name).read_text()) for name in "ab"]
    assert all(map(alive, workers))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(map(alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_workers_that_show_bars_leave_no_semaphores(tmp_path):
    (tmp_path / "worker_job.py").write_text(
        "import tqdm\ndef shown(progress):\n    return sum(tqdm.tqdm(range(3), disable=False))\n"
    )
    (tmp_path / "parent.py").write_text(
        PARENT.replace("import wait", "import shown").split("        workers.run")[0]
        + "        print(workers.run([Job('a', shown, (), 1.0)], lambda *a: None, lambda: None))\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", os.getcwd())])
    line = [sys.executable, str(tmp_path / "parent.py")]
    done = subprocess.run(line, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "{'a': 3}", done.stderr
    assert "leaked" not in done.stderr
