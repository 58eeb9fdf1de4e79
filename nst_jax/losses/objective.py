"""The objective: a sum of loss terms over one view of the canvas."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.errors import RequestError
from nst_jax.core.pytree import record, static
from nst_jax.losses.base import Target, Term, View, total
from nst_jax.losses.guides import layer_guides
from nst_jax.models.vgg import Network


@record
class Regions:
    """Regions of the content and style images; a pytree.

    Attributes:
      content: [R, H, W] in [0, 1], the share of each pixel in each region.
      styles: [R, h, w] for each style image.
      propagation: propagation to the layers, one of `guides.PROPAGATIONS`.
    """

    content: jax.Array | np.ndarray
    styles: tuple[jax.Array | np.ndarray, ...]
    propagation: str = static(default="simple")


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """Number repeated names: a second `style` becomes `style_2`."""
    unique: list[str] = []
    for name in names:
        numbered = (f"{name}_{count}" for count in itertools.count(2))
        candidates = itertools.chain([name], numbered)
        unique.append(next(c for c in candidates if c not in unique))
    return tuple(unique)


@record
class Objective:
    """Σ weight · term: a loss of images, and a pytree of its terms' leaves."""

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.terms, tuple | list):
            raise RequestError(
                f"terms must be a tuple of loss terms, got {self.terms!r}"
            )
        for i, entry in enumerate(self.terms):
            if not isinstance(entry, Term):
                raise RequestError(f"terms[{i}] must be a loss term, got {entry!r}")
        object.__setattr__(self, "terms", tuple(self.terms))

    @property
    def names(self) -> tuple[str, ...]:
        """The terms' names; a second `style` is `style_2`."""
        return unique_names(entry.name for entry in self.terms)

    @property
    def matching_intervals(self) -> tuple[int, ...]:
        """The `matching_interval` of each term."""
        return tuple(entry.matching_interval for entry in self.terms)

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers that the terms need, without repetitions."""
        return tuple(dict.fromkeys(x for entry in self.terms for x in entry.layers))

    def view(
        self,
        network: Network,
        image: jax.Array,
        regions: jax.Array | None = None,
        propagation: str = "simple",
        step: jax.Array | int = 0,
    ) -> View:
        """Return the view of an image [H, W, 3] with optional regions [R, H, W]."""
        guides = {}
        if regions is not None:
            options = propagation, network.pool_rounding, network.trunk
            guides = layer_guides(regions, self.layers, *options)
        return View(image, network(image, self.layers), guides, step)

    def targets(
        self,
        network: Network,
        content: jax.Array,
        styles: Sequence[jax.Array],
        regions: Regions | None = None,
    ) -> tuple[Target, ...]:
        """Return one target per term, from content [H, W, 3] and styles [h, w, 3]."""
        images = [content, *styles]
        image_regions: list[jax.Array | None] = [None] * len(images)
        propagation = "simple"
        if regions is not None:
            image_regions = list(map(jnp.asarray, (regions.content, *regions.styles)))
            propagation = regions.propagation
        with jax.default_matmul_precision(network.numerics.precision):
            content_view, *style_views = (
                self.view(network, image, region, propagation)
                for image, region in zip(images, image_regions, strict=True)
            )
            return tuple(
                entry.target(content_view, style_views) for entry in self.terms
            )

    def match(
        self, network: Network, canvas: jax.Array, targets: Sequence[Target]
    ) -> tuple[Any, ...]:
        """Return the part of each term's target that depends on the canvas [H, W, 3].

        An entry is None for a term without such a part.
        """
        matching = [entry for entry in self.terms if entry.is_matching]
        if not matching:
            return (None,) * len(self.terms)
        canvas = jax.lax.stop_gradient(canvas)
        with jax.default_matmul_precision(network.numerics.precision):
            view = Objective(tuple(matching)).view(network, canvas)
            return tuple(
                entry.match(view, target)
                for entry, target in zip(self.terms, targets, strict=True)
            )

    def __call__(
        self,
        network: Network,
        canvas: jax.Array,
        targets: Sequence[Target],
        step: jax.Array | int = 0,
        matches: Sequence[Any] | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Return the loss of a canvas [H, W, 3] and its weighted parts.

        Args:
          network: computes the features.
          canvas: the image that is optimised.
          targets: see `targets`.
          step: number of steps so far, for stochastic terms.
          matches: see `match`; None for those of this canvas.

        Returns:
          The loss, and part name -> weighted part; the parts sum to the loss.

        Raises:
          RequestError: parts of two terms have the same name.
        """
        parts: dict[str, jax.Array] = {}
        # The declared precision applies to matrix products inside all terms.
        with jax.default_matmul_precision(network.numerics.precision):
            view = self.view(network, canvas, step=step)
            if matches is None:
                matches = self.match(network, canvas, targets)
            for name, entry, target, match in zip(
                self.names, self.terms, targets, matches, strict=True
            ):
                for part, value in entry.parts(
                    view._replace(match=match), target
                ).items():
                    if part.partition("/")[0] == entry.name:
                        part = name + part.removeprefix(entry.name)
                    if part in parts:
                        raise RequestError(f"two terms have a part named {part!r}")
                    parts[part] = entry.weight * value
        return total(parts.values()), parts
