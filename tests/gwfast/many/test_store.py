"""A folder of blocks: resumed without repeating one, refused for another table, never half-written."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import gwfast
from gwfast.many import executors


def spaces(count=140, seed=0):
    rng = np.random.default_rng(seed)
    points = [rng.normal(size=(int(rng.integers(2, 5)), 2)) for _ in range(count)]
    return [np.linalg.norm(x[:, None] - x, axis=2) for x in points]


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize("plans", [False, True])
def test_a_table_that_was_interrupted_goes_on(tmp_path, plans, monkeypatch):
    given = spaces()
    whole = gwfast.pairwise_gw(given, quality="fast", plans=plans)
    out = tmp_path / "table"
    solve, count = executors.answer, [0]

    def failing(*arguments):
        count[0] += 1
        if count[0] == 4:
            raise KeyboardInterrupt
        return solve(*arguments)

    monkeypatch.setattr(executors, "answer", failing)
    with pytest.raises(KeyboardInterrupt):
        gwfast.pairwise_gw(given, quality="fast", plans=plans, out=out)
    monkeypatch.setattr(executors, "answer", solve)
    before = times(out)
    assert 1 < len(before) < 10
    again = gwfast.pairwise_gw(given, quality="fast", plans=plans, out=out)
    np.testing.assert_array_equal(again.values, whole.values)
    assert times(out).items() >= before.items()
    monkeypatch.setattr(executors, "answer", None)  # nothing is left to solve
    last = gwfast.pairwise_gw(given, quality="fast", plans=plans, out=out)
    np.testing.assert_array_equal(last.lowers, whole.lowers)
    if plans:
        np.testing.assert_array_equal(last.plan(0, 139).toarray(), whole.plan(0, 139).toarray())


def test_another_table_is_refused_with_what_differs(tmp_path):
    given = spaces(5)
    gwfast.pairwise_gw(given, out=tmp_path / "t")
    with pytest.raises(gwfast.InputError, match=r"another table: spaces\[2\] is another one"):
        gwfast.pairwise_gw([*given[:2], given[2] * 2, *given[3:]], out=tmp_path / "t")
    with pytest.raises(gwfast.InputError, match="it has 5 spaces, here are 4"):
        gwfast.pairwise_gw(given[:4], out=tmp_path / "t")
    with pytest.raises(gwfast.InputError, match="found quality 'default' there and 'fast' here"):
        gwfast.pairwise_gw(given, quality="fast", out=tmp_path / "t")
    with pytest.raises(gwfast.InputError, match="found pairs"):
        gwfast.pairwise_gw(given, pairs=[(0, 1)], out=tmp_path / "t")


def test_a_folder_of_something_else_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(gwfast.InputError, match="holds something that is no table"):
        gwfast.pairwise_gw(spaces(3), out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(gwfast.InputError, match="cannot be read"):
        gwfast.pairwise_gw(spaces(3), out=tmp_path)
    with pytest.raises(gwfast.InputError, match="out: expected a folder"):
        gwfast.pairwise_gw(spaces(3), out=3)


def test_a_block_that_was_cut_short_is_solved_again(tmp_path):
    given = spaces(5)
    whole = gwfast.pairwise_gw(given, out=tmp_path / "t")
    block = tmp_path / "t" / "block-000000.npy"
    block.write_bytes(block.read_bytes()[:100])
    np.testing.assert_array_equal(gwfast.pairwise_gw(given, out=tmp_path / "t").values, whole.values)
    manifest = json.loads((tmp_path / "t" / "manifest.json").read_text())
    assert len(manifest["spaces"]) == 5


KILLED = """
import sys, numpy as np, gwfast
from gwfast.many import executors
solve = executors.answer
def slow(*arguments):
    import time
    time.sleep(0.3)
    return solve(*arguments)
executors.answer = slow
sys.path.insert(0, sys.argv[2])
from test_store import spaces
gwfast.pairwise_gw(spaces(), quality="fast", out=sys.argv[1])
"""


def test_a_killed_process_leaves_whole_blocks(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    out = tmp_path / "table"
    here = os.path.dirname(__file__)
    process = subprocess.Popen([sys.executable, str(script), str(out), here])
    for _ in range(600):
        if len(list(out.glob("block-*.npy"))) >= 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(out.glob("block-*.npy"))) >= 2
    found = gwfast.pairwise_gw(spaces(), quality="fast", out=out)
    np.testing.assert_array_equal(found.values, gwfast.pairwise_gw(spaces(), quality="fast").values)
