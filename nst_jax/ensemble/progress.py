"""Progress of a run: a bar on a terminal or in a notebook, log lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator
from types import TracebackType

import numpy as np
import tqdm.auto as tqdm
from absl import logging
from jax.typing import ArrayLike


class Cadence:
    """Tells when an action is due again: it takes a twentieth of the time at most.

    Attributes:
      cost: seconds that the action took the last time.
    """

    def __init__(self) -> None:
        self.cost = 0.0
        self._ended = time.perf_counter()

    def is_due(self, every: float) -> bool:
        """Whether so many seconds have passed; always for 0."""
        since = time.perf_counter() - self._ended
        return every == 0 or since > max(every, 20 * self.cost)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Measures the action inside."""
        began = time.perf_counter()
        yield
        self._ended = time.perf_counter()
        self.cost = self._ended - began


class Progress:
    """Shows steps, loss, iterations a second and the time left.

    The rate is that of this call's steps over the seconds spent on them. Compiling and
    steps of earlier calls have no part in it.
    """

    def __init__(
        self, total: int, *, shown: bool = True, seconds_between_lines: float = 10.0
    ):
        """
        Args:
          total: member-steps that the run has, those of earlier calls included.
          shown: whether there is a bar, on a terminal or in a notebook, or a line.
          seconds_between_lines: how rarely a line is logged off a terminal.
        """
        self._total = total
        self._done = self._made = 0
        self._seconds = 0.0
        self._line = self._updated = time.monotonic()
        self._pause = seconds_between_lines
        self._shown = shown
        bar = shown and (sys.stderr.isatty() or "ipykernel" in sys.modules)
        self._bar = tqdm.tqdm(
            total=total,
            disable=not bar,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} it{postfix}",
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Shows on the bar what is waited for."""
        self._bar.set_description_str(text)
        try:
            yield
        finally:
            self._bar.set_description_str()

    def skip(self, member_steps: int) -> None:
        """Counts member-steps that an earlier call made."""
        self._done += member_steps
        self._bar.update(member_steps)

    def update(
        self, member_steps: int, losses: ArrayLike, seconds: float | None = None
    ) -> None:
        """Counts member-steps of this call, and shows where the run is.

        Args:
          member_steps: made since the last update.
          losses: of the members, after these steps.
          seconds: spent on these steps; None for all since the last update.
        """
        now = time.monotonic()
        seconds = now - self._updated if seconds is None else seconds
        self._updated = now
        self._done += member_steps
        self._made += member_steps
        self._seconds += seconds
        finite = np.asarray(losses)[np.isfinite(losses)]
        low, high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
        loss = f"{low:.6g}" if low == high else f"{low:.6g} … {high:.6g}"
        if not finite.size:
            loss = "not finite"
        rate = self._made / max(self._seconds, 1e-9)
        left = (self._total - self._done) / rate if rate else None
        speed = "" if left is None else f"{rate:.3g} it/s, {left:.0f} s left"
        if not self._bar.disable:
            self._bar.set_postfix_str(", ".join(filter(None, (speed, f"loss {loss}"))))
            self._bar.update(member_steps)
            return
        if not self._shown:
            return
        if now - self._line < self._pause and self._done < self._total:
            return
        self._line = now
        logging.info("%d/%d it, loss %s", self._done, self._total, loss)
        if speed:
            logging.info("%s", speed)
