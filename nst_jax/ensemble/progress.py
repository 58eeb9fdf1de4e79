"""Progress of a run: a bar in a terminal or notebook, log lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator

import numpy as np
import tqdm.auto as tqdm
from absl import logging
from jax.typing import ArrayLike


class Cadence:
    """Schedules a repeated action so that it takes at most a twentieth of the time.

    Attributes:
      cost: duration of the last action, in seconds.
    """

    def __init__(self) -> None:
        self.cost = 0.0
        self._ended = time.perf_counter()

    def is_due(self, every: float) -> bool:
        """Return whether `every` seconds have passed; always True for 0."""
        elapsed = time.perf_counter() - self._ended
        return every == 0 or elapsed > max(every, 20 * self.cost)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Measure the action inside."""
        began = time.perf_counter()
        yield
        self._ended = time.perf_counter()
        self.cost = self._ended - began


class Progress:
    """Displays steps, loss, iterations a second and the remaining time.

    The rate is the steps of this call over the seconds spent on them. It excludes
    compilation and the steps of earlier calls.
    """

    def __init__(
        self, total: int, *, shown: bool = True, seconds_between_lines: float = 10.0
    ):
        """
        Args:
          total: member-steps of the run, including those of earlier calls.
          shown: whether to display a bar or log lines.
          seconds_between_lines: least interval between log lines.
        """
        self._total = total
        self._done = self._timed_steps = 0
        self._seconds = 0.0
        self._logged = self._updated = time.monotonic()
        self._seconds_between_lines = seconds_between_lines
        self._shown = shown
        bar = shown and (sys.stderr.isatty() or "ipykernel" in sys.modules)
        self._bar = tqdm.tqdm(
            total=total,
            disable=not bar,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} it{postfix}",
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show on the bar what the run waits for."""
        self._bar.set_description_str(text)
        try:
            yield
        finally:
            self._bar.set_description_str()

    def skip(self, member_steps: int) -> None:
        """Count member-steps of an earlier call."""
        self._done += member_steps
        self._bar.update(member_steps)

    def update(
        self, member_steps: int, losses: ArrayLike, seconds: float | None = None
    ) -> None:
        """Count member-steps of this call and display the progress.

        Args:
          member_steps: steps since the last update, summed over members.
          losses: of the members, after these steps.
          seconds: time spent on these steps; None for the time since the last update.
        """
        now = time.monotonic()
        self._seconds += now - self._updated if seconds is None else seconds
        self._updated = now
        self._done += member_steps
        self._timed_steps += member_steps
        loss, speed = f"loss {_range(losses)}", self._speed()
        if not self._bar.disable:
            self._bar.set_postfix_str(", ".join(filter(None, (speed, loss))))
            self._bar.update(member_steps)
            return
        is_due = now - self._logged >= self._seconds_between_lines
        if self._shown and (is_due or self._done >= self._total):
            self._logged = now
            logging.info("%d/%d it, %s", self._done, self._total, loss)
            if speed:
                logging.info("%s", speed)

    def _speed(self) -> str:
        if not self._timed_steps:
            return ""
        rate = self._timed_steps / max(self._seconds, 1e-9)
        return f"{rate:.3g} it/s, {(self._total - self._done) / rate:.0f} s left"


def _range(losses: ArrayLike) -> str:
    finite = np.asarray(losses)[np.isfinite(losses)]
    if not finite.size:
        return "not finite"
    low, high = finite.min(), finite.max()
    return f"{low:.6g}" if low == high else f"{low:.6g} … {high:.6g}"
