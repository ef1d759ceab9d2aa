"""What sweeps and certificates cost: guessed before the first, learnt from every one."""

from __future__ import annotations

from dataclasses import dataclass

from gwfast.policy import POLICY


def seconds_of_sweep(pairs: int) -> float:
    """Guess of a sweep with nm = `pairs`: for choices that have to be made before the first one."""
    return POLICY.sweep * pairs * pairs


def seconds_to_begin(pairs: int) -> float:
    """Guess of the time for the first state, a certificate, and a few sweeps that make it worth having."""
    return 12 * seconds_of_sweep(pairs)


@dataclass
class Pace:
    """Seconds of a sweep and of a certificate, slow to fall and quick to rise; 0 where nothing is known.

    Attributes
    ----------
    sweep, certificate : float
    flat : int
        Groups of sweeps without gain.
    """

    sweep: float = 0.0
    certificate: float = 0.0
    flat: int = 0
    measured: bool = False

    def begun(self, seconds: float) -> None:
        """The first state took this long: a first idea of a sweep, too long where memory was new."""
        self.sweep, self.measured = seconds / POLICY.first_state, False

    def swept(self, seconds: float) -> None:
        """A sweep took this long."""
        self.sweep = max(seconds, (self.sweep + seconds) / 2) if self.measured else seconds
        self.measured = True

    def certified(self, seconds: float) -> None:
        """A certificate took this long."""
        self.certificate = max(seconds, (self.certificate + seconds) / 2)

    @property
    def reserve(self) -> float:
        """Seconds to keep for the next certificate."""
        return POLICY.caution * (self.certificate or POLICY.certificate * self.sweep)

    def fits(self, seconds: float) -> bool:
        """Whether there is time for a sweep and the certificate after it."""
        return self.sweep + self.reserve <= seconds

    def group(self, usual: int, seconds: float) -> int:
        """Most sweeps before the next certificate with `seconds` left: twice the usual number near the end.

        A certificate that leaves no time for half a group after it would be for nothing.
        """
        if self.sweep <= 0 or seconds >= 1.5 * usual * self.sweep + 2 * self.reserve:
            return usual
        return 2 * usual
