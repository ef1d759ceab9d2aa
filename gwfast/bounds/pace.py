"""Times of sweeps and certificates: a guess before the first, a running estimate after it."""

from __future__ import annotations

from dataclasses import dataclass

from gwfast.policy import POLICY


def seconds_of_sweep(pairs: int) -> float:
    """Guess of a sweep with nm = `pairs`: for choices that have to be made before the first one."""
    return POLICY.sweep * pairs * pairs


def seconds_of_sweeps(pairs: int, count: int) -> float:
    """Guess of some sweeps and the certificate after them."""
    return (count + POLICY.certificate) * seconds_of_sweep(pairs) + 2 * POLICY.piece


def seconds_to_begin(pairs: int) -> float:
    """Guess of the time for the first state, a certificate, and a few sweeps that make it worth having."""
    return 12 * seconds_of_sweep(pairs)


@dataclass
class Pace:
    """Running estimates of the seconds of a sweep and of a certificate; 0 where nothing was measured.

    An estimate rises to a longer time at once, and falls to a shorter one by half the difference.

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
        """Note the time of the first state: a first estimate of a sweep, too long where memory was new."""
        self.sweep, self.measured = seconds / POLICY.first_state, False

    def swept(self, seconds: float) -> None:
        """Note the time of a sweep."""
        self.sweep = max(seconds, (self.sweep + seconds) / 2) if self.measured else seconds
        self.measured = True

    def certified(self, seconds: float) -> None:
        """Note the time of a certificate."""
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
