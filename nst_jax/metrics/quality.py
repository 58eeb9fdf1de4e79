"""All measures of a result against its content and styles, and one score of them."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from nst_jax.metrics.artefacts import (
    MIN_BORDER_SIDE,
    PATCH_SIDE,
    WINDOW,
    border_error,
    clipped_share,
    flat_share,
    seam,
    speckle_share,
    weave,
)
from nst_jax.metrics.edges import edge_agreement
from nst_jax.metrics.feature_distances import (
    Features,
    extract_features,
    mean_distance,
    scaled_features,
    self_similarity_distance,
    stroke_distances,
)
from nst_jax.metrics.palette import palette_distance
from nst_jax.models.layers import smallest_side
from nst_jax.models.vgg import Network

#: Layers of strokes and structure: the last ones before a pooling, and others that
#: losses rarely read.
LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu3_4", "relu4_2", "relu4_4")
#: Names of measures: likeness to the style, to the content, and defects.
PALETTE, STROKES = "palette distance", "stroke distance"
STROKES_AT = {1: "strokes at 1", 2: "strokes at 1/2", 4: "strokes at 1/4"}
EDGES, STRUCTURE = "edge agreement", "structure distance"
FLAT, SPECKLE, CLIPPED = "flat", "speckle", "clipped"
WEAVE, SEAM, BORDER, BORDER_FLOOR = "weave", "seam", "border", "border floor"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Measures results against a content picture and styles.

    Attributes:
      content: [H, W, 3]; None for textures.
      styles: images [h, w, 3]; measures are means over them.
      network: None if there are no weights, for the measures of pixels alone.
      layers: canonical names of layers for `network`.
    """

    content: np.ndarray | None
    styles: Sequence[np.ndarray]
    network: Network | None = None
    layers: Sequence[str] = LAYERS

    def measure(self, image: np.ndarray) -> dict[str, float]:
        """Return the measures of an image [H, W, 3] by name.

        Left out are comparisons with what is missing or, for the content, of another
        size, and measures for which the image is too small.
        """
        return self._likeness(image) | self._preservation(image) | _defects(image)

    def score(self, measures: Mapping[str, float]) -> float | None:
        """Return the distance of a result from the ideal; lower is better.

        It is √(p² + s² + c² + d²). p and s are the distances of palette and strokes
        over those of the content itself, c is 1 − `EDGES`, and d is the share of spoilt
        pixels: flat, or speckled or clipped more than the styles. The content scores
        at least √2, and the style in its place about 1.

        Returns:
          The score, or None if a measure is missing or the content has the style
          already.
        """
        content, style = self._content_measures, self._style_measures
        if not {PALETTE, STROKES, EDGES, FLAT} <= measures.keys():
            return None
        if not (content[PALETTE] and content[STROKES]):
            return None
        spoilt = measures[FLAT] + sum(
            max(0.0, measures[name] - style[name]) for name in (SPECKLE, CLIPPED)
        )
        return math.hypot(
            measures[PALETTE] / content[PALETTE],
            measures[STROKES] / content[STROKES],
            1 - measures[EDGES],
            spoilt,
        )

    @functools.cached_property
    def _content_measures(self) -> dict[str, float]:
        return {} if self.content is None else self._likeness(self.content)

    @functools.cached_property
    def _style_measures(self) -> dict[str, float]:
        measures = (speckle_share, clipped_share)
        return {
            name: float(np.mean([measure(style) for style in self.styles]))
            for name, measure in zip((SPECKLE, CLIPPED), measures, strict=True)
        }

    @functools.cached_property
    def _style_features(self) -> list[dict[int, Features]]:
        assert self.network is not None
        return [
            scaled_features(self.network, style, self.layers, colours=style)
            for style in self.styles
        ]

    @functools.cached_property
    def _content_features(self) -> Features:
        assert self.network is not None and self.content is not None
        return extract_features(self.network, self.content, self.layers)

    def _likeness(self, image: np.ndarray) -> dict[str, float]:
        """Return the likeness of an image to the styles, mean over those."""
        by_style = [self._likeness_to(i, image) for i in range(len(self.styles))]
        return {
            name: float(np.mean([measures[name] for measures in by_style]))
            for name in (by_style[0] if by_style else {})
            if all(name in measures for measures in by_style)
        }

    def _likeness_to(self, index: int, image: np.ndarray) -> dict[str, float]:
        style = self.styles[index]
        measures = {PALETTE: palette_distance(image, style)}
        if min(*image.shape[:2], *style.shape[:2]) >= PATCH_SIDE:
            measures[FLAT] = flat_share(image, style)
        if self.network is None:
            return measures
        features = scaled_features(self.network, image, self.layers, colours=style)
        distances = stroke_distances(features, self._style_features[index])
        if distances:
            measures[STROKES] = float(np.mean([*distances.values()]))
        return measures | {STROKES_AT[k]: value for k, value in distances.items()}

    def _preservation(self, image: np.ndarray) -> dict[str, float]:
        """Return what an image keeps of the content."""
        if self.content is None or self.content.shape != image.shape:
            return {}
        values = {}
        side = min(image.shape[:2])
        if side > 1:
            values[EDGES] = edge_agreement(image, self.content)
        if self.network is not None and side >= smallest_side(self.layers):
            features = extract_features(self.network, image, self.layers)
            values[STRUCTURE] = mean_distance(
                self_similarity_distance, features, self._content_features
            )
        return values


def _defects(image: np.ndarray) -> dict[str, float]:
    side = min(image.shape[:2])
    values = {SPECKLE: speckle_share(image), CLIPPED: clipped_share(image)}
    if side >= 4:
        values[SEAM] = seam(image)
    if side >= WINDOW:
        values[WEAVE] = weave(image)
    if side >= MIN_BORDER_SIDE:
        border = border_error(image)
        values |= {BORDER: border.error, BORDER_FLOOR: border.floor}
    return values
