"""Whose colours the result has: the style's, or one of several ways to the content's.

Luma is Rec. 601's Y' of YUV, a weighted mean of the sRGB values as they are stored.
Chroma is U ∝ B − Y' and V ∝ R − Y', and the weights of Y' add up to one. So another
luma under the same chroma is one number added to all three channels, and the way
there and back needs no matrix whose inverse could be off.

Source: Gatys, Bethge, Hertzmann & Shechtman 2016, "Preserving color in neural
artistic style transfer" (arXiv:1606.05897), for "luminance", "match_cholesky" and
"match_pca"; Pitié & Kokaram 2007, "The linear Monge-Kantorovitch linear colour
mapping for example-based colour transfer", for "match_symmetric".
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError, nearest

#: Rec. 601: what R, G and B weigh in luma.
LUMA_WEIGHTS = (0.299, 0.587, 0.114)

#: A variance below it is taken for it. Its root is 0.8 of a level of 8 bits: what
#: varies less is rounding, and must not be blown up to a colour.
LEAST_VARIANCE = 1e-5


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root of a positive matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values)) @ vectors.T


def _cholesky(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    return np.linalg.cholesky(content) @ np.linalg.inv(np.linalg.cholesky(style))


def _pca(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    return _root(content) @ np.linalg.inv(_root(style))


def _symmetric(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    root = _root(style)
    back = np.linalg.inv(root)
    return back @ _root(root @ content @ root) @ back


#: (style's covariance C, content's) -> A with A C Aᵀ equal to the content's.
MAPS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "match_cholesky": _cholesky,
    "match_pca": _pca,
    "match_symmetric": _symmetric,
}

#: What `Experiment.colour` may be:
#:   "style": the colours that the optimisation finds;
#:   "luminance": it sees luma alone, the content's chroma is put back afterwards;
#:   "luma_swap": it sees colours, the content's chroma is put back afterwards;
#:   "match_…": the styles are given the mean and the covariance of the content's
#:     colours, by a triangular map, by the product of two symmetric roots, or by the
#:     symmetric map, which of all linear ones moves the colours least.
COLOURS = ("style", "luminance", "luma_swap", *MAPS)


def luma(image: ArrayLike) -> np.ndarray:
    """Rec. 601 luma [..., H, W] of pictures [..., H, W, 3], in float64."""
    return np.asarray(image, np.float64) @ np.array(LUMA_WEIGHTS)


def prepare_canvas(colour: str, picture: np.ndarray) -> np.ndarray:
    """A starting picture [H, W, 3] as the optimisation sees it: luma alone, if so."""
    if colour != "luminance":
        return picture
    return np.repeat(luma(picture)[..., None], 3, -1).astype(np.float32)


def prepare(
    colour: str,
    content: np.ndarray,
    styles: tuple[np.ndarray, ...],
    alphas: Sequence[np.ndarray | None] = (),
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The pictures that the optimisation is to see.

    Args:
      colour: one of `COLOURS`.
      content: [H, W, 3].
      styles: pictures [h, w, 3] of any sizes.
      alphas: how opaque [H, W] the content and then each style is, the weights of
        their colour statistics; None, or no alphas at all, where all of it is opaque.

    Returns:
      (content, styles), float32 of the same shapes. A matched style is not clipped
      to [0, 1]: clipped, it would have other statistics.

    Raises:
      RequestError: there is no such way.
    """
    _check(colour)
    content_alpha, *style_alphas = alphas or [None] * (1 + len(styles))
    pairs = list(zip(styles, style_alphas, strict=True))
    if colour == "luminance":
        grey = luma(content)[..., None]
        lumas = [
            match_moments(luma(style)[..., None], grey, _pca, alpha, content_alpha)
            for style, alpha in pairs
        ]
        return _three(grey), tuple(map(_three, lumas))
    if colour in MAPS:
        coloured = [
            match_moments(style, content, MAPS[colour], alpha, content_alpha)
            for style, alpha in pairs
        ]
        return content, tuple(style.astype(np.float32) for style in coloured)
    return content, styles


def restore(colour: str, result: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The result in the colours that were asked for.

    Args:
      colour: one of `COLOURS`.
      result: [..., H, W, 3], what the optimisation has ended with.
      content: [H, W, 3], as it was before `prepare`.

    Returns:
      float32 [..., H, W, 3], not clipped to [0, 1]: a luma of the result's may be
      more than a chroma of the content's has room for.

    Raises:
      RequestError: there is no such way, or the shapes differ.
    """
    _check(colour)
    if result.shape[-3:] != content.shape:
        raise RequestError(
            f"result must be a picture of the content's shape {content.shape}, "
            f"got {result.shape}"
        )
    if colour in ("luminance", "luma_swap"):
        result = content + (luma(result) - luma(content))[..., None]
    return np.asarray(result, np.float32)


def match_moments(
    style: np.ndarray,
    content: np.ndarray,
    mapping: Callable[[np.ndarray, np.ndarray], np.ndarray],
    style_alpha: np.ndarray | None = None,
    content_alpha: np.ndarray | None = None,
) -> np.ndarray:
    """x' = A (x − μ) + μ', float64 [h, w, C], for pixels x of the style.

    μ is their mean, μ' the content's, and A = mapping(their covariance, the content's).
    The moments are weighted by the alphas [h, w] and [H, W]; None weights all alike.
    """
    mean, covariance = _moments(style, style_alpha)
    wanted_mean, wanted_covariance = _moments(content, content_alpha)
    return (style - mean) @ mapping(covariance, wanted_covariance).T + wanted_mean


def _moments(
    image: np.ndarray, alpha: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean [C] and covariance [C, C] of a picture's colours, of full rank."""
    pixels = np.asarray(image, np.float64).reshape(-1, image.shape[-1])
    if alpha is None:
        mean = pixels.mean(0)
        centred = pixels - mean
        covariance = centred.T @ centred / len(pixels)
    else:
        weights = np.asarray(alpha, np.float64).reshape(-1)
        weights = weights / weights.sum()
        mean = weights @ pixels
        centred = pixels - mean
        covariance = (weights[:, None] * centred).T @ centred
    values, vectors = np.linalg.eigh(covariance)
    # A bound, not a summand: a covariance of full rank is then matched exactly.
    return mean, (vectors * np.maximum(values, LEAST_VARIANCE)) @ vectors.T


def _three(grey: np.ndarray) -> np.ndarray:
    """A picture of three equal channels, from one."""
    return np.repeat(grey, 3, axis=-1).astype(np.float32)


def _check(colour: str) -> None:
    if colour not in COLOURS:
        raise RequestError(
            f"colour must be one of {COLOURS}, got {colour!r}{nearest(colour, COLOURS)}"
        )
