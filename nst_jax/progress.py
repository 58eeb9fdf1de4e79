"""How far a run is: a bar on a terminal or in a notebook, plain lines elsewhere."""

import sys
import time
from types import TracebackType

import numpy as np
import tqdm.auto as tqdm
from absl import logging
from jax.typing import ArrayLike


class Progress:
    """Shows steps, loss, iterations a second and the time left."""

    def __init__(
        self, total: int, *, shown: bool = True, seconds_between_lines: float = 10.0
    ):
        """
        Args:
          total: member-steps that the run has.
          shown: whether there is a bar, on a terminal or in a notebook, or a line.
          seconds_between_lines: how rarely a line is logged off a terminal.
        """
        self._total = total
        self._done = 0
        self._began = self._line = time.monotonic()
        self._pause = seconds_between_lines
        self._shown = shown
        bar = shown and (sys.stderr.isatty() or "ipykernel" in sys.modules)
        self._bar = tqdm.tqdm(total=total, unit="it", disable=not bar, smoothing=0)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def skip(self, member_steps: int) -> None:
        """So many member-steps were made by an earlier call."""
        self._total -= member_steps
        self._bar.total = self._total

    def update(self, member_steps: int, losses: ArrayLike) -> None:
        """So many more member-steps are made; `losses` are where they led."""
        self._done += member_steps
        finite = np.asarray(losses)[np.isfinite(losses)]
        low, high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
        loss = f"{low:.6g}" if low == high else f"{low:.6g} … {high:.6g}"
        if not finite.size:
            loss = "not finite"
        if not self._bar.disable:
            self._bar.set_postfix_str(f"loss {loss}")
            self._bar.update(member_steps)
            return
        if not self._shown:
            return
        now = time.monotonic()
        if now - self._line < self._pause and self._done < self._total:
            return
        self._line = now
        rate = self._done / max(now - self._began, 1e-9)
        logging.info("%d/%d it, loss %s", self._done, self._total, loss)
        if rate:
            left = (self._total - self._done) / rate
            logging.info("%.3g it/s, %.0f s left", rate, left)
