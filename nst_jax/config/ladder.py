"""Coarse-to-fine: what sizes a picture goes through."""

import dataclasses
import itertools
import math

from nst_jax.core.config_record import Fields, check_types
from nst_jax.core.errors import RequestError

# The flags read the annotations below as types: they must not be strings.


@dataclasses.dataclass
class Ladder(Fields):
    """Coarse-to-fine: stages of smaller pictures before the one of `size`.

    Each stage reads its pictures anew at its size, and starts from what the one before
    it showed. Adam takes its moments along, resized, where it moves pixels; all else,
    L-BFGS and schedules of learning rates too, begins anew.

    Attributes:
      sizes: of the stages before the last, ascending; empty for those that `start`
        gives.
      start: the least size of a ladder that goes down from `size` by `factor`; 0 for
        none.
      factor: between two stages of such a ladder.
      steps: one a stage before the last, or one number for all of them; empty for as
        many as the last one makes.
      style_scales: times `style_scale`, one a stage before the last; empty for 1.
    """

    sizes: tuple[int, ...] = ()
    start: int = 0
    factor: float = math.sqrt(2)
    steps: tuple[int, ...] = ()
    style_scales: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_types(self, "ladder.")
        self.check()

    def check(self) -> None:
        """Raises RequestError if a field is outside what it allows."""
        if self.start < 0:
            raise RequestError(f"ladder.start must be at least 0, got {self.start}")
        if not 1.05 <= self.factor <= 16:
            raise RequestError(
                f"ladder.factor must be from 1.05 to 16, got {self.factor}"
            )
        for name, least in (("sizes", 1), ("steps", 0), ("style_scales", 0.001)):
            values = getattr(self, name)
            for value in values:
                number = isinstance(value, int | float) and not isinstance(value, bool)
                whole = name == "style_scales" or isinstance(value, int)
                if not (number and whole and least <= value < math.inf):
                    kind = "integers" if name != "style_scales" else "finite numbers"
                    raise RequestError(
                        f"ladder.{name} must be {kind} from {least}, got {values}"
                    )
        if self.sizes and self.start:
            raise RequestError(
                "ladder.sizes and ladder.start both name the stages, got "
                f"{self.sizes} and {self.start}: give one"
            )

    def stages(
        self, size: int, steps: int, style_scale: float
    ) -> list[tuple[int, int, float]]:
        """(size, steps, style scale) of each stage, the last one's as given.

        Raises:
          RequestError: the stages do not ascend to `size`, or there is not one entry
            a stage.
        """
        if self.start >= size:
            raise RequestError(
                f"ladder.start must be below size {size}, got {self.start}"
            )
        sizes = self.sizes or self._down_from(size)
        if list(sizes) != sorted({*sizes}) or (sizes and sizes[-1] >= size):
            raise RequestError(
                f"ladder.sizes must ascend and end below size {size}, got {sizes}"
            )
        counts = self.steps if len(self.steps) != 1 else self.steps * len(sizes)
        counts = counts or (steps,) * len(sizes)
        scales = self.style_scales or (1.0,) * len(sizes)
        for name, own in (("steps", counts), ("style_scales", scales)):
            if own and not sizes:
                raise RequestError(
                    f"ladder.{name} is of stages before the last, and neither "
                    "ladder.start nor ladder.sizes asks for any"
                )
            if len(own) != len(sizes):
                raise RequestError(
                    f"ladder.{name} has {len(own)} entries for the {len(sizes)} "
                    f"stages {sizes} before the last"
                )
        before = zip(sizes, counts, scales, strict=True)
        return [
            *((size_, count, style_scale * scale) for size_, count, scale in before),
            (size, steps, style_scale),
        ]

    def _down_from(self, size: int) -> tuple[int, ...]:
        """Those of crowsonkb's style-transfer: `size` over powers of `factor`."""
        powers = (size / self.factor**i for i in itertools.count(1))
        sizes = itertools.takewhile(
            lambda below: below >= self.start, map(round, powers)
        )
        # Small sizes a small factor apart are rounded to the same.
        return tuple(sorted({*sizes} - {size})) if self.start else ()
