"""Locks on folders that are being written: held, stale, of another machine, and left behind."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from gwfast_llm.system import locks
from gwfast_llm.system.errors import FusionError
from gwfast_llm.system.locks import held

HOLDER = """
import sys, time
from pathlib import Path
from gwfast_llm.system.locks import held
with held(Path(sys.argv[1]), "the run", "wait"):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def other(lock):
    """A process that holds the lock; killed at the end."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def take(lock):
    with held(lock, "run folder x", "give another --name"):
        return json.loads(lock.read_text())


def test_a_lock_names_host_and_process_and_goes_with_the_block(tmp_path):
    lock = tmp_path / ".x.lock"
    found = take(lock)
    assert found["process"] == os.getpid()
    assert found["host"]
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    lock = tmp_path / ".x.lock"
    with other(lock) as holder, pytest.raises(FusionError, match=f"x is being written by process {holder.pid} on this"):
        take(lock)
    assert lock.is_file()  # left behind by the kill
    assert take(lock)["process"] == os.getpid()
    assert not lock.exists()


def test_one_that_waits_gets_it_when_the_other_has_ended(tmp_path, monkeypatch):
    lock = tmp_path / ".x.lock"
    with other(lock) as holder:
        monkeypatch.setattr(locks.time, "sleep", lambda seconds: (holder.kill(), holder.wait()))
        with held(lock, "the model", "wait", wait=True):
            assert json.loads(lock.read_text())["process"] == os.getpid()


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ({}, False),  # this very process
        ({"process": 2**22 + 1}, True),
        ({"started": "1"}, True),  # the number was given to a later process
        ({"boot": "before"}, True),
        ({"host": "elsewhere", "boot": "other"}, False),
    ],
)
def test_what_a_lock_says_tells_a_stale_one(tmp_path, change, stale):
    lock = tmp_path / ".x.lock"
    lock.write_text(json.dumps({**locks._myself(), **change}))
    if stale:
        assert take(lock)["process"] == os.getpid()
        return
    with pytest.raises(FusionError) as problem:
        take(lock)
    assert ("the machine 'elsewhere'" in str(problem.value)) == bool(change)
    assert (f"delete {lock}" in str(problem.value)) == bool(change)
    assert lock.is_file()


@pytest.mark.parametrize("content", ["", "{", '{"host": "a", "pro', '{"host": 3, "process": []}', "\x00" * 99])
def test_a_lock_that_says_nothing_is_stale(tmp_path, content):
    lock = tmp_path / ".x.lock"
    lock.write_text(content)
    assert take(lock)["process"] == os.getpid()


@pytest.mark.parametrize(
    "content",
    ["my notes", "[]", "null", "{}", '{"host": "db.example"}', "[" * 100_000, '{"host": "' + "a" * 5000, "\x00" * 5000],
)
def test_a_file_of_others_in_its_place_is_left_alone(tmp_path, content):
    lock = tmp_path / ".x.lock"
    lock.write_text(content)
    with pytest.raises(FusionError, match=r"\.x\.lock is no lock that gwfast_llm has written") as found:
        take(lock)
    assert "move it away, or give another --name" in str(found.value)
    assert lock.read_text() == content


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_no_lock(tmp_path, make):
    lock = tmp_path / ".x.lock"
    make(lock)
    with pytest.raises(FusionError, match=r"\.x\.lock is no lock"):
        take(lock)
    assert lock.exists()


def test_what_came_into_its_place_meanwhile_is_left_alone(tmp_path):
    lock = tmp_path / ".x.lock"
    with held(lock, "run folder x", "give another --name"):
        lock.unlink()
        lock.write_text("mine")
    assert lock.read_text() == "mine"


def test_a_link_is_no_lock(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".x.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(FusionError, match=r"\.x\.lock is a link, where a lock belongs"):
        take(tmp_path / ".x.lock")
    assert (tmp_path / "precious").read_text() == "mine"


def test_file_systems_without_locks_go_by_what_is_said(tmp_path, monkeypatch):
    def none(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    lock = tmp_path / ".x.lock"
    with other(lock) as holder, pytest.raises(FusionError, match=f"process {holder.pid} on this machine"):
        take(lock)
    assert take(lock)["process"] == os.getpid()
