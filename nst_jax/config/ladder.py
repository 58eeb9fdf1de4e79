"""Coarse-to-fine optimisation: the sizes of its stages."""

import dataclasses
import itertools
import math
from typing import Annotated, NamedTuple

from nst_jax.config.options import MAX_STEPS, Count
from nst_jax.core.config_record import ConfigRecord
from nst_jax.core.errors import RequestError
from nst_jax.core.validation import Range

_Factor = Annotated[float, Range(0, below=math.inf)]


class StageOptions(NamedTuple):
    """Options of one stage.

    Attributes:
      size, steps, style_scale: as in `Experiment`.
      term_weights: factor on the weight of each term; empty for 1.
    """

    size: int
    steps: int
    style_scale: float
    term_weights: tuple[float, ...]


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
        none. A `size` up to it has one stage.
      factor: ratio of the sizes of two such stages.
      steps: steps of each stage before the last, or one number for all of them; empty
        for as many as the last stage has.
      style_scales: factor on `style_scale` for each stage before the last; empty for 1.
      term_weights: for each stage before the last, one factor on the weight of each
        term; empty for 1.
      content_mix: share of the content that is mixed into the start of each stage after
        the first. It keeps details that coarse stages lose.
      content_details: whether the content's finest details, those that it loses at half
        its size, are added to the start of each stage after the first, as in STROTSS.
      min_positions: a layer of a style term gets weight 0 at a stage where the content
        has fewer positions than this multiple of the layer's channels. The statistics
        of so few positions describe the layout of the style, not its texture.
    """

    sizes: tuple[Annotated[int, Range(1)], ...] = ()
    start: Count = 0
    factor: Annotated[float, Range(1.05, 16)] = math.sqrt(2)
    steps: tuple[Annotated[int, Range(0, MAX_STEPS)], ...] = ()
    style_scales: tuple[Annotated[float, Range(0.001, below=math.inf)], ...] = ()
    term_weights: tuple[
        tuple[Annotated[float, Range(0, below=math.inf)], ...], ...
    ] = ()
    content_mix: Annotated[float, Range(0, 1)] = 0.0
    content_details: bool = False
    min_positions: _Factor = 0.0

    def check_relations(self) -> None:
        if self.sizes and self.start:
            raise RequestError(
                "ladder.sizes and ladder.start both define the stages: give one of "
                f"them, got {self.sizes} and {self.start}"
            )

    def stages(self, size: int, steps: int, style_scale: float) -> list[StageOptions]:
        """Return the options of each stage; the last has the arguments.

        Raises:
          RequestError: the stages do not ascend to `size`, or a tuple does not have one
            entry for each stage.
        """
        sizes = self.sizes or self._sizes_below(size)
        if list(sizes) != sorted({*sizes}) or (sizes and sizes[-1] >= size):
            raise RequestError(
                f"ladder.sizes must ascend and end below size {size}, got {sizes}"
            )
        last = StageOptions(size, steps, style_scale, ())
        # Too small for a coarser stage, or only the starting canvas.
        if (not sizes and self.start) or not steps:
            return [last]
        counts = self.steps * len(sizes) if len(self.steps) == 1 else self.steps
        counts = counts or (steps,) * len(sizes)
        scales = self.style_scales or (1.0,) * len(sizes)
        factors = self.term_weights or ((),) * len(sizes)
        per_stage = {"steps": counts, "style_scales": scales, "term_weights": factors}
        for name, entries in per_stage.items():
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
            *(
                StageOptions(size, steps, style_scale * scale, factor)
                for size, steps, scale, factor in zip(
                    sizes, counts, scales, factors, strict=True
                )
            ),
            last,
        ]

    def _sizes_below(self, size: int) -> tuple[int, ...]:
        """Return `size` over powers of `factor`, as crowsonkb's style-transfer does."""
        if not self.start:
            return ()
        powers = (round(size / self.factor**i) for i in itertools.count(1))
        sizes = itertools.takewhile(lambda below: below >= self.start, powers)
        return tuple(sorted({*sizes} - {size}))  # Rounding may repeat a small size.
