"""Compiled kernels without a folder for their cache, with a broken one, and off the clock of time limits."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import gwfast
from gwfast import clock

KERNEL = """
from gwfast.kernels.compiled import compiled

@compiled()
def double(x):
    return 2 * x
"""
SAID = "gwfast: compiling kernels, once on this machine; time limits do not run\n"
ONE_KERNEL = "from kernel import double; print(double(2.0) == 4.0)"
SOLVER = """
import numpy as np, gwfast
C = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
print(gwfast.exact_gw(C, C[::-1, ::-1], time_limit=.5).stop.name)
"""


def run(code, package, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=kept | {"PYTHONPATH": str(package), **environment},
        cwd=package,
        timeout=300,
    )


@pytest.fixture
def package(tmp_path):
    """A copy of the package in which nothing is compiled yet."""
    source = Path(gwfast.__file__).parent
    shutil.copytree(source, tmp_path / "site" / "gwfast", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "site" / "kernel.py").write_text(KERNEL)
    return tmp_path / "site"


def test_nothing_is_writable(package):
    # the superuser may write everywhere: places where no folder can be made stand for a read-only container
    done = run(
        ONE_KERNEL,
        package,
        HOME="/dev/null",
        XDG_CACHE_HOME="/dev/null/cache",
        NUMBA_CACHE_DIR="/dev/null/numba",
        NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0] + "\n" == SAID
    assert "NUMBA_CACHE_DIR" in lines[1]


def test_an_import_says_nothing(package):
    done = run("import gwfast", package, HOME="/dev/null", NUMBA_CACHE_DIR="/dev/null/numba")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_a_broken_cache_is_compiled_anew(package, tmp_path):
    folder = tmp_path / "cache"
    assert run(ONE_KERNEL, package, NUMBA_CACHE_DIR=str(folder)).returncode == 0
    files = [path for path in folder.rglob("*.nb?")]
    assert files
    for number, path in enumerate(files):
        path.write_bytes(b"" if number % 2 else path.read_bytes()[:50])
    done = run(ONE_KERNEL, package, NUMBA_CACHE_DIR=str(folder))
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", SAID)


@pytest.mark.nightly  # the whole solver is compiled: most of a minute
def test_compiling_does_not_count_against_a_time_limit(package, tmp_path):
    # nothing is compiled: that alone takes several times the limit, in which this problem is solved
    begin = time.perf_counter()
    done = run(SOLVER, package, NUMBA_CACHE_DIR=str(tmp_path / "empty"))
    assert done.stdout == "STATIONARY\n", done.stderr
    assert time.perf_counter() - begin > 1


def test_the_clock_stops_and_goes_on():
    begin = clock.now()
    with clock.paused():
        held = clock.now()
        with clock.paused():
            time.sleep(0.05)
        assert clock.now() == held
    assert clock.now() - begin < 0.04
    time.sleep(0.02)
    assert clock.now() - begin >= 0.02


def test_the_clock_of_several_threads():
    def work():
        for _ in range(200):
            with clock.paused():
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    before = clock.now()
    for thread in threads:
        thread.start()
    last = before
    while any(thread.is_alive() for thread in threads):
        now = clock.now()
        assert now >= last
        last = now
    time.sleep(0.01)
    assert clock.now() > last


def test_compiling_is_said_once(package, tmp_path):
    code = "from kernel import double; print(double(2.0), double(1))"
    first, second = (run(code, package, NUMBA_CACHE_DIR=str(tmp_path / "cache")) for _ in range(2))
    assert first.stderr == SAID
    assert second.stderr == ""
    assert first.stdout == second.stdout
