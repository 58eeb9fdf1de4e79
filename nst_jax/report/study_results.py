"""The results of the studies, written into a run directory."""

import collections
import contextlib
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from nst_jax.core.atomic import write_atomically
from nst_jax.core.errors import RequestError
from nst_jax.core.paths import find_file
from nst_jax.images.image import to_bytes
from nst_jax.images.io import map_array
from nst_jax.models.vgg import Network
from nst_jax.models.weights import load_network
from nst_jax.report.plots import write_figure
from nst_jax.report.run_directory import Member, RunDirectory
from nst_jax.report.video import write_mp4
from nst_jax.studies.registry import run_studies
from nst_jax.studies.results import Clip, Matrix, Picture, Plot, Table
from nst_jax.studies.run_data import RunData
from nst_jax.workdir.schema import decode, encode

#: Images that are cached in memory, at most.
CACHED_IMAGES = 1024
#: Config fields that define the network beside its weights.
_NETWORK_FIELDS = {
    "pooling",
    "pool_rounding",
    "padding",
    "input_scale",
    "input_centred",
}


class StudyFile(msgspec.Struct):
    """A picture or video of a study: title and path in the run directory."""

    title: str
    file: str


class StudyContent(msgspec.Struct):
    """The content of study.json."""

    summary: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Any = ()
    matrices: Any = ()
    pictures: Sequence[StudyFile] = ()
    films: Sequence[StudyFile] = ()


def write_study(run: RunDirectory) -> None:
    """Write `study.json`, and into `study/` the images and videos that it names."""
    result = run_studies(load_run_data(run))
    items: list[Plot | Matrix | Picture] = [*result.plots, *result.matrices]
    items += result.pictures
    pictures = [
        StudyFile(item.title, f"study/{i:03d}.png") for i, item in enumerate(items)
    ]
    films = [
        StudyFile(clip.title, f"study/{i:03d}.mp4")
        for i, clip in enumerate(result.clips)
    ]
    for file, item in zip(pictures, items, strict=True):
        if isinstance(item, Picture):
            image = Image.fromarray(to_bytes(item.picture))
            write_atomically(run.workdir / file.file, image.save)
        else:
            write_figure(run.workdir / file.file, item)
    for file, clip in zip(films, result.clips, strict=True):
        _write_clip(run.workdir / file.file, clip, run.fps)
    figures = result.plots, result.matrices
    content = StudyContent(result.summary, result.tables, *figures, pictures, films)
    text = encode(content, indent=2) + "\n"
    write_atomically(
        run.workdir / "study.json",
        lambda partial: partial.write_text(text, encoding="utf-8"),
    )


def read_study(workdir: pathlib.Path) -> StudyContent:
    """Read study.json; return an empty content if there is no such file.

    Raises:
      RequestError: the file is not as `write_study` writes it.
    """
    path = workdir / "study.json"
    if not path.exists():
        return StudyContent()
    try:
        return decode(path.read_text(), StudyContent)
    except msgspec.ValidationError as error:
        reason = f": {error}"
    except OSError as error:
        reason = f": {error.strerror}"
    except ValueError as error:
        reason = f" is not JSON ({error})"
    raise RequestError(f"the study cannot be read: {path.name}{reason}")


class LazyImages(collections.UserDict[int, Any]):
    """PNG files by member, each read as float32 [H, W, 3] in [0, 1] on access."""

    def __init__(self, files: Mapping[int, pathlib.Path | None]):
        super().__init__({member: file for member, file in files.items() if file})
        self._read = functools.lru_cache(CACHED_IMAGES)(_read_pixels)

    def __getitem__(self, member: int) -> np.ndarray:
        return np.asarray(self._read(self.data[member]), np.float32) / 255


def load_run_data(run: RunDirectory) -> RunData:
    """Return the data of the finished members; results are those of `final.png`."""
    members = [m for m in run.members if m.picture and m.entry.status == "done"]
    inputs = LazyImages(dict(enumerate(run.inputs)))
    read_style = functools.cache(inputs.__getitem__)
    return RunData(
        run.manifest,
        LazyImages({m.number: m.picture for m in members}),
        {
            number: [row for row in rows if row["stage"] == rows[-1]["stage"]]
            for number, rows in run.rows.items()
            if rows
        },
        LazyImages({m.number: run.inputs[m.entry.content] for m in members}),
        {
            m.number: [read_style(n) for n in m.entry.styles if n in inputs]
            for m in members
        },
        functools.partial(load_trajectory, run),
        functools.cache(functools.partial(_load_network, run)),
    )


def _load_network(run: RunDirectory) -> Network | None:
    """Load the network of all members; None if their weights differ or are missing.

    An option in which they differ has its default: one network measures all members.
    """
    config = run.manifest.config
    varied = {p for axis in run.axes for p in axis.field.split(", ")}
    if "weights" in varied:
        return None
    try:
        network = load_network(find_file("weights", config["weights"]))
    except RequestError:  # The run may have been moved to another machine.
        return None
    # A run.json without the field is of a version that dropped odd rows.
    options: dict[str, Any] = {"pool_rounding": "floor"}
    options |= {name: config[name] for name in _NETWORK_FIELDS if name in config}
    fixed = {name: value for name, value in options.items() if name not in varied}
    return network.with_options(**fixed)


def load_trajectory(
    run: RunDirectory, number: int
) -> tuple[list[int], list[np.ndarray]]:
    """Return the recorded steps and exact canvases of a member, and its last canvas.

    Canvases of earlier stages, which have other sizes, are left out.
    """
    member = run.members[number]
    files = {int(file.stem): file for file in member.snapshots(".npy")}
    final = member.folder / "final.npy"
    if final.is_file():
        files.setdefault(_last_step(run, member), final)
    canvases = {}
    for step, file in files.items():
        with contextlib.suppress(ValueError):  # A damaged file is left out.
            canvases[step] = np.array(map_array(file))
    shapes = [canvas.shape for canvas in canvases.values()]
    last = {step: c for step, c in canvases.items() if c.shape == shapes[-1]}
    return list(last), list(last.values())


def _last_step(run: RunDirectory, member: Member) -> int:
    """The number of steps of a finished member."""
    if rows := run.rows.get(member.number):
        return rows[-1]["step"]
    return member.entry.varies.get("steps", run.manifest.config["steps"])


def _read_pixels(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _write_clip(path: pathlib.Path, clip: Clip, fps: float) -> None:
    frames: Sequence[pathlib.Path] = [
        path.with_suffix("") / f"{t:06d}.png" for t in range(len(clip.frames))
    ]
    for file, frame in zip(frames, clip.frames, strict=True):
        write_atomically(file, Image.fromarray(to_bytes(frame)).save)
    write_mp4(path, frames, fps)
