"""python -m experiments: run what the records lack of the experiments on a CPU, draw, and write the READMEs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from experiments.shared.threads import one_thread


def main() -> int:
    """Run the experiments named, or all; one core, one after another."""
    one_thread()
    from experiments import readme
    from experiments.catalogue import EXPERIMENTS

    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    known = [e.name for e in EXPERIMENTS]
    parser.add_argument("--only", nargs="+", choices=known, default=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--list", action="store_true", help="name the experiments with their stated times and stop")
    parser.add_argument(
        "--data", type=Path, default=None, help="folder with MUTAG/ and neurons/, see solvers/README.md"
    )
    options = parser.parse_args()
    chosen = [e for e in EXPERIMENTS if e.name in options.only]
    if options.list:
        for e in chosen:
            print(f"{e.name:22} {e.minutes:5g} min  {e.claim}")
        print(
            f"{'together':22} {sum(e.minutes for e in chosen):5g} min on one core, on first use 4 more to build models"
        )
        return 0
    for e in chosen:
        print(f"{e.name}: {e.claim}, stated {e.minutes:g} minutes", flush=True)
        e.run(*[options.data] if e.real_data else [])
        e.plot()
    readme.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
