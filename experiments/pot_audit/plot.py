"""Draw the record: POT's value, ours and the proved bound, as `python -m gwfast demo` does."""

from __future__ import annotations

from pathlib import Path

from experiments.pot_audit.run import RECORD
from gwfast.demo import Audit, draw


def found() -> list[Audit]:
    """The rows of the record, as the demonstration has them."""
    return [
        Audit(r["kind"], r["seed"], r["pot"], r["value"], r["lower"], r["pot_seconds"], r["exact_seconds"])
        for r in RECORD.rows
    ]


def main() -> None:
    """Draw audit.png."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = draw(found())
    figure.savefig(Path(__file__).parent / "audit.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
