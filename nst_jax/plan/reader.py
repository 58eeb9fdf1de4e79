"""Reading the files of an experiment, each once."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from nst_jax.config.experiment import Experiment
from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import ArrayInput, as_picture
from nst_jax.images import io, masks, video
from nst_jax.losses import Regions
from nst_jax.models.numerics import ConvolutionForm, Numerics
from nst_jax.models.vgg import Network
from nst_jax.models.weights import load_weights


@dataclasses.dataclass(frozen=True)
class Input:
    """A file or array that a run reads.

    Attributes:
      role: field of the config, such as "styles[0]".
      path: path in the config.
      sha256: SHA-256 of the file or array.
      size: (height, width) of an image as it is used; None for the weights.
    """

    role: str
    path: str
    sha256: str
    size: tuple[int, int] | None = None


class NetworkFields(NamedTuple):
    """The fields of an experiment that describe its network, `numerics` resolved."""

    weights: str
    backend: str
    numerics: Numerics
    pooling: str
    padding: str
    input_scale: float
    input_centred: bool
    pool_rounding: str

    @classmethod
    def from_experiment(cls, experiment: Experiment) -> "NetworkFields":
        backend = experiment.ensemble.platform or jax.default_backend()
        return cls(
            experiment.weights,
            backend,
            experiment.numerics.resolve(backend),
            experiment.pooling,
            experiment.padding,
            experiment.input_scale,
            experiment.input_centred,
            experiment.pool_rounding,
        )


# Each network takes half a gigabyte; experiments of a process share it.
@functools.lru_cache(maxsize=2)
def _load_network(
    path: pathlib.Path, sha256: str, convolution: ConvolutionForm, device: Hashable
) -> Network:
    """Return a network on the device; `sha256` and `device` are cache keys."""
    weights = load_weights(path)
    numerics = Numerics(convolution=convolution)
    return Network.from_params(weights.params, weights.preprocessing, numerics=numerics)


class Reader:
    """Reads each file once, and records all inputs.

    Attributes:
      inputs: the inputs in the order of reading.
      pictures: index in `inputs` -> image [H, W, 3] as it is used.
      alphas: index in `inputs` -> opacity [H, W] of an image that is not opaque.
      unstyled: (content mask, colour of a region that no style's mask has) -> the
        region's share of the image.
    """

    def __init__(self, hashes: dict[pathlib.Path, str] | None = None) -> None:
        """
        Args:
          hashes: file -> SHA-256, shared with other readers.
        """
        self.inputs: list[Input] = []
        self.pictures: dict[int, np.ndarray] = {}
        self.alphas: dict[int, np.ndarray] = {}
        self.unstyled: dict[tuple[str, str], float] = {}
        self._indices: dict[int, int] = {}  # id of an image -> its index in `inputs`.
        self._cache: dict[Hashable, Any] = {}
        self._hashes = {} if hashes is None else hashes

    def for_coarser_stages(self) -> "Reader":
        """Return a reader of the same files that records its own inputs."""
        return Reader(self._hashes)

    def network(self, experiment: Experiment) -> Network:
        """Return the network of an experiment."""
        fields = NetworkFields.from_experiment(experiment)._asdict()
        path, backend = fields.pop("weights"), fields.pop("backend")

        def read() -> tuple[pathlib.Path, str]:
            file = io.find_file("weights", path)
            self.inputs.append(Input("weights", path, self._sha256(file)))
            return file, self.inputs[-1].sha256

        file, sha256 = self.cached(("weights", path), read)
        device = backend, jax.config.jax_default_device  # type: ignore[attr-defined]
        base = _load_network(file, sha256, fields["numerics"].convolution, device)
        return base.with_options(**fields)

    def content(self, experiment: Experiment) -> np.ndarray:
        """Return the content image of an experiment's frame; size 0 is its own size."""
        number, motion = experiment.frame, experiment.film
        source = experiment.content, number
        path, position = self.cached(
            ("source", *source), lambda: video.locate_frame(*source)
        )
        is_moving = motion.motion != "still"
        has_frames = is_moving or position is not None
        role = f"content, frame {number}" if number and has_frames else "content"
        sizing = _sizing(experiment, experiment.size)

        def read() -> np.ndarray:
            film = None
            if position is not None:
                film = self._film(path, experiment.max_pixels)
            image, alpha = video.read_frame(path, position, sizing, "content", film)
            if alpha is not None:
                alpha = motion.moved(alpha, number)
            return self._record(role, path, motion.frame(image, number), alpha)

        key = role, path, experiment.size, experiment.fit, experiment.resample
        return self.cached((*key, is_moving and dataclasses.astuple(motion)), read)

    def picture(
        self, role: str, experiment: Experiment, path: str, *, style: bool = False
    ) -> np.ndarray:
        """Return an image at the size of the content, or of the style images."""
        size: float = experiment.size
        if style:
            size = (experiment.style_size or size) * experiment.style_scale
        side = max(1, round(size)) if size else 0
        sizing = _sizing(experiment, side)

        def read() -> np.ndarray:
            image, alpha = io.read_picture(path, sizing, role)
            return self._record(role, path, image, alpha if style else None)

        key = role, path, side, experiment.fit, experiment.resample
        return self.cached(key, read)

    def canvas(self, experiment: Experiment) -> np.ndarray | None:
        """Return the starting image of `canvas.kind="file"`: a picture or a `.npy`."""
        role, path = "canvas.path", experiment.canvas.path
        if experiment.canvas.kind != "file":
            return None

        def read() -> np.ndarray:
            if isinstance(path, ArrayInput):
                array = as_picture(path.array, role, optimised=True)
                return self._record(role, path, np.asarray(array, np.float32))
            return self._record(role, path, io.read_array(path, argument=role))

        if isinstance(path, ArrayInput) or pathlib.Path(path).suffix == ".npy":
            return self.cached((role, path), read)
        return self.picture(role, experiment, path)

    def mask(self, role: str, path: str, max_pixels: int) -> np.ndarray:
        """Return a mask [h, w, 3] at its own size."""
        return self.cached(
            (role, path),
            lambda: self._record(role, path, masks.read_mask(path, role, max_pixels)),
        )

    def regions(
        self,
        experiment: Experiment,
        content: np.ndarray,
        styles: Sequence[np.ndarray],
    ) -> Regions | None:
        """Return the regions of images; None without masks and transparent pixels.

        Transparent pixels are in no region.
        """
        options = experiment.masks
        images = [content, *styles]
        alphas = list(map(self.alpha, images))
        if options.content:
            shares = self._region_shares(experiment, [image.shape for image in images])
        elif any(alpha is not None for alpha in alphas):
            shares = [np.ones((1, *image.shape[:2]), np.float32) for image in images]
        else:
            return None
        visible = [
            share if alpha is None else share * alpha
            for share, alpha in zip(shares, alphas, strict=True)
        ]
        for image, share in zip(images, visible, strict=True):
            if not share.any():
                path = self.inputs[self.input_index(image)].path
                raise RequestError(
                    f"{path!r} is transparent in all of its regions, so that none of "
                    "its pixels counts"
                )
        return Regions(visible[0], tuple(visible[1:]), options.propagation)

    def _region_shares(
        self, experiment: Experiment, shapes: Sequence[tuple[int, ...]]
    ) -> list[np.ndarray]:
        """Return the share [R, H, W] of each pixel in each region, for each image."""
        options = experiment.masks
        names = ["masks.content"]
        names += [f"masks.styles[{i}]" for i in range(len(shapes) - 1)]
        read = [
            self.mask(name, path, experiment.max_pixels)
            for name, path in zip(
                names, (options.content, *options.styles), strict=True
            )
        ]
        labels = masks.label_regions(read, names)
        content, *styles = labels.shares(shapes)
        for colour, share in labels.unstyled.items():
            self.unstyled[options.content, colour] = share
        return [experiment.film.moved(content, experiment.frame, axis=2), *styles]

    def frozen(self, experiment: Experiment, content: np.ndarray) -> np.ndarray | None:
        """Return the pixels that stay as in the content, bool [H, W, 1], or None."""
        role, path = "masks.freeze", experiment.masks.freeze
        if not path:
            return None
        mask = self.mask(role, path, experiment.max_pixels)
        frozen = masks.frozen_pixels(mask, content.shape, role)
        return experiment.film.moved(frozen, experiment.frame)

    def alpha(self, image: np.ndarray) -> np.ndarray | None:
        """Return the opacity [H, W] of an image that was read here; None if opaque."""
        return self.alphas.get(self.input_index(image))

    def input_index(self, image: np.ndarray) -> int:
        """Return the index in `inputs` of an image that was read here."""
        return self._indices[id(image)]

    def _film(self, path: str, max_pixels: int) -> video.FilmFile:
        """Return a film, opened at its first use with this limit on its pixels."""
        key = "film", path, max_pixels
        return self.cached(key, lambda: video.FilmFile(path, "content", max_pixels))

    def cached(self, key: Hashable, read: Callable[[], Any]) -> Any:
        """Return what `read` returned for this key the first time."""
        if key not in self._cache:
            self._cache[key] = read()
        return self._cache[key]

    def _sha256(self, file: pathlib.Path) -> str:
        """Return a file's SHA-256, computed once for all frames of a video."""
        if file not in self._hashes:
            self._hashes[file] = io.file_sha256(file)
        return self._hashes[file]

    def _record(
        self,
        role: str,
        path: str,
        image: np.ndarray,
        alpha: np.ndarray | None = None,
    ) -> np.ndarray:
        """Add an image to the inputs, and return it.

        Raises:
          RequestError: the image is fully transparent.
        """
        if isinstance(path, ArrayInput):
            sha256 = path.sha256
        else:
            sha256 = self._sha256(io.find_file(role, path))
        index = len(self.inputs)
        height, width, _ = image.shape
        if alpha is not None:
            if not alpha.any():
                raise RequestError(
                    f"{path!r} is fully transparent at {width}×{height} px"
                )
            self.alphas[index] = alpha
        self.pictures[index] = image
        self._indices.setdefault(id(image), index)
        self.inputs.append(Input(role, path, sha256, (height, width)))
        return image


def _sizing(experiment: Experiment, size: int) -> io.Sizing:
    fields = experiment.fit, experiment.resample, experiment.max_pixels
    return io.Sizing(size, *fields)
