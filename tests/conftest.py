"""Backends and hypothesis settings shared by all tests."""

import os
import signal

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# two workers, and the processes that tests start, share the processors: threads that spin take them away
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS") or "1"  # empty is no number to OpenMP
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=40, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.register_profile(
    "nightly", deadline=None, max_examples=200, print_blob=True, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile("ci")


def pytest_configure():
    """Tests send themselves Ctrl-C and hang-ups, which commands in the background and under nohup ignore."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(autouse=True, scope="session")
def _quiet_kernels():
    """Tests read what goes to standard error: the line about compiling comes when no kernel is cached yet."""
    from gwfast.kernels.compiled import Announcement

    Announcement.said = True


class Backend:
    """One array library: how its arrays are made from numpy and read back."""

    def __init__(self, name):
        self.name = name

    def __call__(self, x):
        if x is None:
            return None
        if self.name == "numpy":
            return x
        if self.name == "numpy read-only":
            x = np.array(x)
            x.flags.writeable = False
            return x
        import torch

        return torch.tensor(x, device="cuda" if self.name == "torch cuda" else "cpu")

    def __repr__(self):
        return self.name


def _cuda():
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


BACKENDS = [
    pytest.param(Backend("numpy"), id="numpy"),
    pytest.param(Backend("numpy read-only"), id="numpy-read-only"),
    pytest.param(Backend("torch"), id="torch"),
    pytest.param(
        Backend("torch cuda"),
        id="torch-cuda",
        marks=[pytest.mark.cuda, pytest.mark.skipif(not _cuda(), reason="no CUDA device on this machine")],
    ),
]


@pytest.fixture(params=BACKENDS)
def xp(request):
    """Convert a numpy array to the backend under test."""
    return request.param
