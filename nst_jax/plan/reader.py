"""The files that an experiment names, each read once."""

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
from nst_jax.images import io, masks
from nst_jax.images import video as film
from nst_jax.images.decoder import MAX_PIXELS
from nst_jax.losses import Regions
from nst_jax.models.numerics import ConvolutionForm, Numerics
from nst_jax.models.vgg import Network
from nst_jax.models.weights import load_weights


@dataclasses.dataclass(frozen=True)
class Input:
    """A file or array that a run has read: its part in it, its path as given, its hash.

    Attributes:
      size: (height, width) of a picture as it was used; None for the weights.
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


# Half a gigabyte, which the experiments of a process share: those of a notebook, say.
@functools.lru_cache(maxsize=2)
def _network(
    path: pathlib.Path, sha256: str, form: ConvolutionForm, where: Hashable
) -> Network:
    """The weights of a file in one form of convolution, on the device.

    `sha256` is the file's, which another may take the place of; `where` is the device.
    """
    weights = load_weights(path)
    numerics = Numerics(convolution=form)
    return Network.from_params(weights.params, weights.preprocessing, numerics=numerics)


class Reader:
    """Reads each file once, and keeps account of all.

    Attributes:
      inputs: what was read, in that order.
      pictures: those of them that are pictures, as they are used: place in `inputs`
        -> [H, W, 3].
      alphas: how opaque [H, W] those of them are that are transparent in parts: place
        in `inputs` -> [H, W].
      unstyled: regions of a content mask that no style's mask has: the mask's path
        and the region's colour -> share of the canvas.
    """

    def __init__(self, hashes: dict[pathlib.Path, str] | None = None) -> None:
        """
        Args:
          hashes: file -> SHA-256, shared with the readers that are given the same.
        """
        self.inputs: list[Input] = []
        self.pictures: dict[int, np.ndarray] = {}
        self.alphas: dict[int, np.ndarray] = {}
        self.unstyled: dict[tuple[str, str], float] = {}
        self._places: dict[int, int] = {}  # id of a picture -> its place in `inputs`.
        self._read: dict[Hashable, Any] = {}
        self._hashes = {} if hashes is None else hashes
        #: A content's place in `inputs` -> the frame's place in the film's file, what
        #: moves it, and its number.
        self._frames: dict[int, tuple[int | None, film.Film, int]] = {}

    def network(self, experiment: Experiment) -> Network:
        """The network that an experiment describes."""
        fields = NetworkFields.from_experiment(experiment)._asdict()
        path, backend = fields.pop("weights"), fields.pop("backend")

        def read() -> tuple[pathlib.Path, str]:
            found = io.find_file("weights", path)
            self.inputs.append(Input("weights", path, self._sha256(found)))
            return found, self.inputs[-1].sha256

        found, sha256 = self._once(("weights", path), read)
        where = backend, jax.config.jax_default_device  # type: ignore[attr-defined]
        base = _network(found, sha256, fields["numerics"].convolution, where)
        return base.with_options(**fields)

    def content(self, experiment: Experiment) -> np.ndarray:
        """The content picture, of the frame that the experiment is of.

        Size 0 is its own size.
        """
        asked = experiment.content, experiment.frame
        path, place = self._once(("source", *asked), lambda: film.locate_frame(*asked))
        moving = experiment.film.motion != "still"
        role = "content"
        if experiment.frame and (moving or place is not None):
            role = f"content, frame {experiment.frame}"
        side, fit, resample = experiment.size, experiment.fit, experiment.resample
        limit = experiment.max_pixels

        def read() -> np.ndarray:
            options: dict[str, Any] = {"fit": fit, "resample": resample}
            options |= {"argument": "content", "max_pixels": limit}
            if isinstance(path, ArrayInput):
                picture = io.resize_array(path, side, **options)
            else:
                if place is not None:
                    options["video"] = self._film(path, limit)
                picture = film.read_frame(path, place, side, **options)
            frame = experiment.film.frame(picture, experiment.frame)
            self._frames[len(self.inputs)] = place, experiment.film, experiment.frame
            return self._noted(role, path, frame)

        motion = dataclasses.astuple(experiment.film) if moving else None
        return self._once((role, path, side, fit, resample, motion), read)

    def picture(
        self, role: str, experiment: Experiment, path: str, *, style: bool = False
    ) -> np.ndarray:
        """A picture at the size that the experiment wants it in this role."""
        size: float = experiment.size
        if style:
            size = (experiment.style_size or size) * experiment.style_scale
        side = max(1, round(size)) if size else 0
        fit, resample = experiment.fit, experiment.resample
        limit = experiment.max_pixels

        def read() -> np.ndarray:
            options: dict[str, Any] = {"fit": fit, "resample": resample}
            options |= {"argument": role, "max_pixels": limit}
            if isinstance(path, ArrayInput):
                return self._noted(role, path, io.resize_array(path, side, **options))
            image = io.read_image(path, side, fill=True, **options)
            return self._noted(role, path, image)

        return self._once((role, path, side, fit, resample), read)

    def canvas(self, experiment: Experiment) -> np.ndarray | None:
        """What a canvas of kind "file" starts from: a picture, or a run's `.npy`."""
        role, path = "canvas.path", experiment.canvas.path
        if experiment.canvas.kind != "file":
            return None
        if isinstance(path, ArrayInput):
            start = np.asarray(as_picture(path.array, role, optimised=True), np.float32)
            return self._once((role, path), lambda: self._noted(role, path, start))
        if pathlib.Path(path).suffix != ".npy":
            return self.picture(role, experiment, path)
        return self._once(
            (role, path),
            lambda: self._noted(role, path, io.read_array(path, argument=role)),
        )

    def mask(self, role: str, path: str, max_pixels: int) -> np.ndarray:
        """A mask [h, w, 3], of its own size."""

        def read() -> np.ndarray:
            return self._noted(role, path, masks.read_mask(path, role, max_pixels))

        return self._once((role, path), read)

    def regions(
        self,
        experiment: Experiment,
        content: np.ndarray,
        styles: Sequence[np.ndarray],
    ) -> Regions | None:
        """Which part of the pictures is like which; None if all of it is.

        What is transparent belongs to no region.
        """
        names = ["masks.content", *(f"masks.styles[{i}]" for i in range(len(styles)))]
        pictures, asked = [content, *styles], experiment.masks
        shapes = [picture.shape for picture in pictures]
        alphas = [self.alpha(picture) for picture in pictures]
        if asked.content:
            paths = [asked.content, *asked.styles]
            limit = experiment.max_pixels
            read = [
                self.mask(n, path, limit) for n, path in zip(names, paths, strict=True)
            ]
            labels = masks.label_regions(read, names)
            first, *others = labels.shares(shapes)
            first = experiment.film.moved(first, experiment.frame, axis=2)
            shares: Sequence[np.ndarray] = (first, *others)
            for colour, share in labels.unstyled.items():
                self.unstyled[asked.content, colour] = share
        elif any(alpha is not None for alpha in alphas):
            shares = [np.ones((1, *shape[:2]), np.float32) for shape in shapes]
        else:
            return None
        seen = [
            own if alpha is None else own * alpha
            for own, alpha in zip(shares, alphas, strict=True)
        ]
        for picture, own in zip(pictures, seen, strict=True):
            if not own.any():
                path = self.inputs[self.place(picture)].path
                raise RequestError(
                    f"{path!r} is transparent wherever it has a region: nothing of it "
                    "counts"
                )
        return Regions(seen[0], tuple(seen[1:]), asked.propagation)

    def frozen(self, experiment: Experiment, content: np.ndarray) -> np.ndarray | None:
        """Which pixels are to stay as the content's, bool [H, W, 1]; None for none."""
        role, path = "masks.freeze", experiment.masks.freeze
        if not path:
            return None
        mask = self.mask(role, path, experiment.max_pixels)
        held = masks.frozen_pixels(mask, content.shape, role)
        return experiment.film.moved(held, experiment.frame)

    def alpha(self, picture: np.ndarray) -> np.ndarray | None:
        """How opaque [H, W] a picture is that was read here; None if all of it is."""
        number = self.place(picture)
        place, motion, frame = self._frames.get(number, (None, film.Film(), 0))

        def read() -> np.ndarray | None:
            path = self.inputs[number].path
            if isinstance(path, ArrayInput):
                alpha = None
            elif place is None:
                alpha = io.read_alpha(path, picture.shape)
            else:
                alpha = io.resize_alpha(self._film(path).picture(place), picture.shape)
            if alpha is not None:
                if not alpha.any():
                    height, width, _ = picture.shape
                    raise RequestError(
                        f"{path!r} is fully transparent at {width}×{height} px"
                    )
                alpha = self.alphas[number] = motion.moved(alpha, frame)
            return alpha

        return self._once(("alpha", number), read)

    def coarser(self) -> "Reader":
        """Return a reader of the same files at other sizes, with its own account."""
        return Reader(self._hashes)

    def _film(
        self, path: str, max_pixels: int = MAX_PIXELS
    ) -> film.Video | film.Animation:
        """The open file of a film; the limit counts as it is opened, the first time."""
        return self._once(
            ("film", path), lambda: film.open_film(path, "content", max_pixels)
        )

    def place(self, picture: np.ndarray) -> int:
        """Where in `inputs` a picture is that was read here."""
        return self._places[id(picture)]

    def _once(self, key: Hashable, read: Callable[[], Any]) -> Any:
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]

    def _sha256(self, file: pathlib.Path) -> str:
        """Return a file's SHA-256, computed once: a film reads a frame at a time."""
        if file not in self._hashes:
            self._hashes[file] = io.file_sha256(file)
        return self._hashes[file]

    def _noted(self, role: str, path: str, image: np.ndarray) -> np.ndarray:
        if isinstance(path, ArrayInput):
            sha256 = path.sha256
        else:
            sha256 = self._sha256(io.find_file(role, path))
        height, width, _ = image.shape
        self.pictures[len(self.inputs)] = image
        self._places.setdefault(id(image), len(self.inputs))
        self.inputs.append(Input(role, path, sha256, (height, width)))
        return image
