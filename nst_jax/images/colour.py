"""Colour control: how far the result has the colours of the style or of the content.

Luma is Y' of Rec. 601, a weighted mean of the stored sRGB values. Chroma is U ∝ B − Y'
and V ∝ R − Y', and the weights of Y' add up to 1. A change of luma under constant
chroma thus adds one number to all three channels, without a colour matrix.

Sources: Gatys, Bethge, Hertzmann & Shechtman 2016, "Preserving color in neural artistic
style transfer" (arXiv:1606.05897), for "luminance", "match_cholesky" and "match_pca";
Pitié & Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping for
example-based colour transfer", for "match_symmetric".
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from nst_jax.core.errors import RequestError

#: Weights of R, G and B in luma (Rec. 601).
LUMA_WEIGHTS = (0.299, 0.587, 0.114)

#: Least variance of a colour direction. Its root is 0.8 of a level of 8 bits. Smaller
#: variation is rounding, and must not be amplified to a colour.
MIN_VARIANCE = 1e-5


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return the symmetric square root of a positive matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values)) @ vectors.T


def _cholesky(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    return np.linalg.cholesky(content) @ np.linalg.inv(np.linalg.cholesky(style))


def _pca(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    return _root(content) @ np.linalg.inv(_root(style))


def _symmetric(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    root = _root(style)
    inverse = np.linalg.inv(root)
    return inverse @ _root(root @ content @ root) @ inverse


#: (style's covariance C, content's) -> A with A C Aᵀ equal to the content's.
MAPS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "match_cholesky": _cholesky,
    "match_pca": _pca,
    "match_symmetric": _symmetric,
}

#: Values of `Experiment.colour`:
#:   "style": colours as optimised;
#:   "luminance": luma alone is optimised, then the content's chroma is restored;
#:   "luma_swap": colours are optimised, then the content's chroma is restored;
#:   "match_…": the styles get the mean and covariance of the content's colours, by a
#:     triangular map, by the product of two symmetric roots, or by the symmetric map,
#:     which moves the colours least of all linear maps;
#:   "match_content": the content gets the mean and covariance of the styles' colours by
#:     the symmetric map before the optimisation, and the result once more after it.
COLOURS = ("style", "luminance", "luma_swap", *MAPS, "match_content")


def luma(image: ArrayLike) -> np.ndarray:
    """Return the Rec. 601 luma, float64 [..., H, W], of images [..., H, W, 3]."""
    return np.asarray(image, np.float64) @ np.array(LUMA_WEIGHTS)


def prepare_canvas(colour: str, canvas: np.ndarray) -> np.ndarray:
    """Return a starting canvas [H, W, 3] for the optimisation: grey for "luminance"."""
    return _grey(luma(canvas)[..., None]) if colour == "luminance" else canvas


def prepare(
    colour: str,
    content: np.ndarray,
    styles: tuple[np.ndarray, ...],
    alphas: Sequence[np.ndarray | None] = (),
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return the content and style images for the optimisation.

    Args:
      colour: one of `COLOURS`.
      content: [H, W, 3].
      styles: images [h, w, 3] of any sizes.
      alphas: opacity [H, W] of the content, then of each style: weights of their colour
        statistics. None, or an empty sequence, for opaque images.

    Returns:
      (content, styles), float32 of the same shapes. A matched style is not clipped to
      [0, 1], which would change its statistics. A matched content is, as a photograph.
    """
    content_alpha, *style_alphas = alphas or [None] * (1 + len(styles))
    pairs = list(zip(styles, style_alphas, strict=True))
    if colour == "luminance":
        grey = luma(content)[..., None]
        lumas = [
            match_moments(luma(style)[..., None], grey, _pca, alpha, content_alpha)
            for style, alpha in pairs
        ]
        return _grey(grey), tuple(map(_grey, lumas))
    if colour in MAPS:
        matched = [
            match_moments(style, content, MAPS[colour], alpha, content_alpha)
            for style, alpha in pairs
        ]
        return content, tuple(style.astype(np.float32) for style in matched)
    if colour == "match_content" and styles:
        moved = _to_styles(content, styles, content_alpha, style_alphas)
        return np.clip(moved, 0, 1).astype(np.float32), styles
    return content, styles


def restore(
    colour: str,
    result: np.ndarray,
    content: np.ndarray,
    styles: tuple[np.ndarray, ...] = (),
    alphas: Sequence[np.ndarray | None] = (),
) -> np.ndarray:
    """Return the result in the requested colours.

    Args:
      colour: one of `COLOURS`.
      result: [..., H, W, 3], the last iterate.
      content: [H, W, 3], before `prepare`.
      styles, alphas: as for `prepare`; only "match_content" needs them.

    Returns:
      float32 [..., H, W, 3]. It may leave [0, 1] where the result's luma does not fit
      the content's chroma, or where the colours are matched.

    Raises:
      RequestError: the shapes differ.
    """
    if result.shape[-3:] != content.shape:
        raise RequestError(
            f"result must be of the content's shape {content.shape}, got {result.shape}"
        )
    if colour in ("luminance", "luma_swap"):
        result = content + (luma(result) - luma(content))[..., None]
    if colour == "match_content" and styles:
        content_alpha, *style_alphas = alphas or [None] * (1 + len(styles))
        result = _to_styles(result, styles, content_alpha, style_alphas)
    return np.asarray(result, np.float32)


def _to_styles(
    image: np.ndarray,
    styles: Sequence[np.ndarray],
    alpha: np.ndarray | None,
    style_alphas: Sequence[np.ndarray | None],
) -> np.ndarray:
    """Return an image with the colour moments of several styles in equal shares."""
    means, covariances = zip(*map(_moments, styles, style_alphas), strict=True)
    mean = np.mean(means, 0)
    deviations = [np.outer(m - mean, m - mean) for m in means]
    covariance = np.mean(covariances, 0) + np.mean(deviations, 0)
    return _with_moments(image, alpha, _symmetric, mean, covariance)


def match_moments(
    style: np.ndarray,
    content: np.ndarray,
    mapping: Callable[[np.ndarray, np.ndarray], np.ndarray],
    style_alpha: np.ndarray | None = None,
    content_alpha: np.ndarray | None = None,
) -> np.ndarray:
    """Return A (x − μ) + μ', float64 [h, w, C], for the pixels x of a style.

    μ and μ' are the means of style and content, and A = mapping(style's covariance,
    content's covariance). Alphas [h, w] and [H, W] weight the moments; None weights all
    pixels equally.
    """
    moments = _moments(content, content_alpha)
    return _with_moments(style, style_alpha, mapping, *moments)


def _with_moments(
    image: np.ndarray,
    alpha: np.ndarray | None,
    mapping: Callable[[np.ndarray, np.ndarray], np.ndarray],
    target_mean: np.ndarray,
    target_covariance: np.ndarray,
) -> np.ndarray:
    """Return an image [h, w, C] whose colours are mapped to a mean and covariance."""
    mean, covariance = _moments(image, alpha)
    return (image - mean) @ mapping(covariance, target_covariance).T + target_mean


def _moments(
    image: np.ndarray, alpha: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean [C] and covariance [C, C], of full rank, of an image's colours."""
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
    # A lower bound keeps a covariance of full rank exact; a summand would not.
    return mean, (vectors * np.maximum(values, MIN_VARIANCE)) @ vectors.T


def _grey(channel: np.ndarray) -> np.ndarray:
    """Return a float32 image of three equal channels from one [H, W, 1]."""
    return np.repeat(channel, 3, axis=-1).astype(np.float32)
