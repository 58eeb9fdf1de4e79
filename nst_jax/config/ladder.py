"""Coarse-to-fine optimisation: the sizes of its stages."""

import dataclasses
import itertools
import math
from typing import Annotated

from nst_jax.config.options import MAX_STEPS, Count
from nst_jax.core.config_record import ConfigRecord
from nst_jax.core.errors import RequestError
from nst_jax.core.validation import Range


@dataclasses.dataclass
class Ladder(ConfigRecord, path="ladder"):
    """Coarse-to-fine: stages at smaller sizes before the stage at `size`.

    Each stage reads its pictures at its size and starts from the resized result of the
    stage before. Adam on pixels also resizes its moments. Everything else restarts,
    including the history of L-BFGS and learning-rate schedules.

    Attributes:
      sizes: sizes of the stages before the last, ascending; empty to derive them from
        `start`.
      start: smallest size of stages that divide `size` by powers of `factor`; 0 for
        none.
      factor: ratio of the sizes of two such stages.
      steps: steps of each stage before the last, or one number for all of them; empty
        for as many as the last stage has.
      style_scales: factor on `style_scale` for each stage before the last; empty for 1.
    """

    sizes: tuple[Annotated[int, Range(1)], ...] = ()
    start: Count = 0
    factor: Annotated[float, Range(1.05, 16)] = math.sqrt(2)
    steps: tuple[Annotated[int, Range(0, MAX_STEPS)], ...] = ()
    style_scales: tuple[Annotated[float, Range(0.001, below=math.inf)], ...] = ()

    def check_relations(self) -> None:
        if self.sizes and self.start:
            raise RequestError(
                "ladder.sizes and ladder.start both define the stages: give one of "
                f"them, got {self.sizes} and {self.start}"
            )

    def stages(
        self, size: int, steps: int, style_scale: float
    ) -> list[tuple[int, int, float]]:
        """Return (size, steps, style scale) of each stage; the last has the arguments.

        Raises:
          RequestError: the stages do not ascend to `size`, or a tuple does not have one
            entry for each stage.
        """
        if self.start >= size:
            raise RequestError(
                f"ladder.start must be below size {size}, got {self.start}"
            )
        sizes = self.sizes or self._sizes_below(size)
        if list(sizes) != sorted({*sizes}) or (sizes and sizes[-1] >= size):
            raise RequestError(
                f"ladder.sizes must ascend and end below size {size}, got {sizes}"
            )
        counts = self.steps * len(sizes) if len(self.steps) == 1 else self.steps
        counts = counts or (steps,) * len(sizes)
        scales = self.style_scales or (1.0,) * len(sizes)
        for name, entries in (("steps", counts), ("style_scales", scales)):
            if entries and not sizes:
                raise RequestError(
                    f"ladder.{name} needs stages before the last: give ladder.start or "
                    "ladder.sizes"
                )
            if len(entries) != len(sizes):
                raise RequestError(
                    f"ladder.{name} has {len(entries)} entries for the {len(sizes)} "
                    f"stages {sizes} before the last"
                )
        return [
            *zip(sizes, counts, (style_scale * scale for scale in scales), strict=True),
            (size, steps, style_scale),
        ]

    def _sizes_below(self, size: int) -> tuple[int, ...]:
        """Return `size` over powers of `factor`, as crowsonkb's style-transfer does."""
        if not self.start:
            return ()
        powers = (round(size / self.factor**i) for i in itertools.count(1))
        sizes = itertools.takewhile(lambda below: below >= self.start, powers)
        return tuple(sorted({*sizes} - {size}))  # Rounding may repeat a small size.
