"""Runs a program in two processes as torch.distributed.run does, from one import of the libraries.

Imports take longer than the short runs of the tests: they happen once, then the process is forked.  Where one process
ends badly the other is ended too, and what ended it is said.
"""

import os
import runpy
import signal
import socket
import sys

import torch

import gwfast_llm.training.fusion  # noqa: F401  what every run needs

COUNT = 2


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def become(rank, port, program):
    """Run the program as one of the processes; does not return."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(COUNT),
        "LOCAL_WORLD_SIZE": str(COUNT),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    sys.argv = program
    status = 1
    try:
        runpy.run_path(program[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # as the interpreter does at its end
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main(program):
    torch.set_num_threads(1)
    port = free_port()
    running = {}
    for rank in range(COUNT):
        child = os.fork()
        if child == 0:
            become(rank, port, program)
        running[child] = rank
    failed = 0
    while running:
        child, status = os.wait()
        rank, code = running.pop(child), os.waitstatus_to_exitcode(status)
        if code:
            said = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            print(f"process {rank}: {said}", file=sys.stderr, flush=True)
            failed = failed or abs(code)
            for other in running:
                os.kill(other, signal.SIGTERM)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
