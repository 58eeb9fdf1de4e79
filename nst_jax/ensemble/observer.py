"""Callbacks and Ctrl-C during an optimisation."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from nst_jax.core.errors import RequestError
from nst_jax.core.representation import short_repr
from nst_jax.optim.solvers import Report


class StepInfo(NamedTuple):
    """The progress of a batch, the argument of a callback.

    Attributes:
      members: numbers of the n members of the batch.
      step: number of steps made by each; 0 is the start.
      loss: float [n].
      terms: name of a part of the loss -> float [n].
      canvas: float32 [n, H, W, 3], a copy; None at steps without a picture.
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
    """Calls a callback at steps, and turns Ctrl-C into an orderly stop.

    As a context manager it handles the first Ctrl-C; a second one raises
    KeyboardInterrupt. It leaves Ctrl-C alone outside the main thread, and where the
    program has its own handler.
    """

    def __init__(
        self,
        callback: Callback | None = None,
        stop: Callable[[], bool] = lambda: False,
    ):
        """
        Args:
          callback: called with a `StepInfo`. After an exception, which is logged, it is
            not called again. A KeyboardInterrupt in it requests a stop.
          stop: True requests a stop.

        Raises:
          RequestError: the callback is not callable.
        """
        if callback is not None and not callable(callback):
            raise RequestError(
                f"callback must be a function of a StepInfo, got {callback!r}"
            )
        self._callback = callback
        self._stop = stop
        self._interrupted = False
        self._handles_interrupts = False

    def __enter__(self) -> "Observer":
        self._handles_interrupts = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._handles_interrupts:
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._handles_interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        logging.warning("stopping after these steps; interrupt again to stop at once")

    @property
    def has_callback(self) -> bool:
        """True if there is a callback that has not failed."""
        return self._callback is not None

    def stop(self) -> bool:
        """Return whether a stop was requested."""
        return self._interrupted or self._stop()

    def notify(
        self,
        members: tuple[int, ...],
        step: int,
        report: Report,
        canvas: np.ndarray | None,
    ) -> None:
        """Call the callback; its exceptions do not propagate."""
        if self._callback is None:
            return
        # The canvas may share memory with the optimised one.
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
