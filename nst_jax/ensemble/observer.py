"""The caller of a long computation: what it is told, and how it stops it."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from nst_jax.core.errors import RequestError
from nst_jax.core.representation import short_repr
from nst_jax.optim.solvers import Report


class StepInfo(NamedTuple):
    """A batch's progress, as a callback is given it.

    Attributes:
      members: numbers of the batch's n members.
      step: steps that each has made; 0 at the start.
      loss: float [n].
      terms: name of a summand of the loss -> float [n].
      canvas: float32 [n, H, W, 3], a copy; None at a step of which no picture is kept.
    """

    members: tuple[int, ...]
    step: int
    loss: np.ndarray
    terms: dict[str, np.ndarray]
    canvas: np.ndarray | None

    def __repr__(self) -> str:
        return short_repr(self)


Callback = Callable[[StepInfo], Any]


class Observer:
    """Tells a callback of steps, and turns Ctrl-C into a request to stop in order.

    As a context, it takes the first Ctrl-C; a second one raises KeyboardInterrupt at
    once. In another thread than the main one, and where the program has a handler of
    its own for Ctrl-C, it leaves that alone.
    """

    def __init__(
        self,
        callback: Callback | None = None,
        stop: Callable[[], bool] = lambda: False,
    ):
        """
        Args:
          callback: called with a `StepInfo`. An exception in it is logged, and it is
            not called again; a KeyboardInterrupt in it is a request to stop.
          stop: asked too; if true, the computation is to stop.

        Raises:
          RequestError: the callback cannot be called.
        """
        if callback is not None and not callable(callback):
            raise RequestError(
                f"callback must be a function of a StepInfo, got {callback!r}"
            )
        self._callback = callback
        self._stop = stop
        self._interrupted = False
        self._handles = False

    def __enter__(self) -> "Observer":
        self._handles = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._handles:
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handles:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        logging.warning("stopping after these steps; interrupt again to stop at once")

    @property
    def listens(self) -> bool:
        """Whether there is a callback to tell."""
        return self._callback is not None

    def stop(self) -> bool:
        """Return whether the computation is to stop."""
        return self._interrupted or self._stop()

    def tell(
        self,
        members: tuple[int, ...],
        step: int,
        report: Report,
        canvas: np.ndarray | None,
    ) -> None:
        """Call the callback; nothing that is raised in it gets out."""
        if self._callback is None:
            return
        # The canvas may share memory with the one that is optimised.
        copied = None if canvas is None else np.array(canvas)
        info = StepInfo(members, step, report.loss, report.parts, copied)  # type: ignore[arg-type]
        try:
            self._callback(info)
        except KeyboardInterrupt:
            self._interrupted = True
        except Exception:
            logging.exception(
                "callback failed at step %d; it is not called again", step
            )
            self._callback = None
