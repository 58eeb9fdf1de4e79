"""The results of the studies, written into a run directory."""

import collections
import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from nst_jax.core.atomic import write_atomically
from nst_jax.core.errors import RequestError
from nst_jax.core.paths import find_file
from nst_jax.images.image import to_bytes
from nst_jax.images.io import map_array
from nst_jax.models.vgg import Network
from nst_jax.models.weights import load_network
from nst_jax.report.run_directory import Member, RunDirectory
from nst_jax.report.video import write_mp4
from nst_jax.studies.registry import run_studies
from nst_jax.studies.results import Clip, Matrix, Picture, Plot
from nst_jax.studies.run_data import RunData
from nst_jax.workdir.schema import encode

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


def write_study(run: RunDirectory) -> None:
    """Write `study.json`, and into `study/` the images and videos that it names."""
    result = run_studies(load_run_data(run))
    items: list[Plot | Matrix | Picture] = [*result.plots, *result.matrices]
    pictures: list[dict[str, str]] = []
    for item in [*items, *result.pictures]:
        file = f"study/{len(pictures):03d}.png"
        pictures.append({"title": item.title, "file": file})
        _write_picture(run.workdir / file, item)
    films: list[dict[str, str]] = []
    for clip in result.clips:
        file = f"study/{len(films):03d}.mp4"
        films.append({"title": clip.title, "file": file})
        _write_clip(run.workdir / file, clip, run.fps)
    study = {
        "summary": result.summary,
        "tables": [dataclasses.asdict(table) for table in result.tables],
        "plots": [dataclasses.asdict(plot) for plot in result.plots],
        "matrices": [
            dataclasses.asdict(matrix) | {"values": matrix.values.tolist()}
            for matrix in result.matrices
        ],
        "pictures": pictures,
        "films": films,
    }
    text = encode(study, indent=2) + "\n"
    write_atomically(
        run.workdir / "study.json",
        lambda partial: partial.write_text(text, encoding="utf-8"),
    )


class LazyImages(collections.UserDict[int, Any]):
    """PNG files by member, each read as float32 [H, W, 3] in [0, 1] on access."""

    def __init__(self, files: Mapping[int, pathlib.Path | None]):
        super().__init__({member: file for member, file in files.items() if file})
        self._read = functools.lru_cache(CACHED_IMAGES)(_read_pixels)

    def __getitem__(self, member: int) -> np.ndarray:
        return np.asarray(self._read(self.data[member]), np.float32) / 255


def load_run_data(run: RunDirectory) -> RunData:
    """Return the data of the finished members; results are those of `final.png`."""
    members = [m for m in run.members if m.picture and m.entry["status"] == "done"]
    inputs = [run.input_picture(i) for i in range(len(run.manifest["inputs"]))]
    read_style = functools.cache(LazyImages(dict(enumerate(inputs))).__getitem__)
    return RunData(
        run.manifest,
        LazyImages({m.number: m.picture for m in members}),
        {
            number: [row for row in rows if row["stage"] == rows[-1]["stage"]]
            for number, rows in run.rows.items()
            if rows
        },
        LazyImages({m.number: inputs[m.entry["content"]] for m in members}),
        {
            m.number: [read_style(n) for n in m.entry.get("styles", []) if inputs[n]]
            for m in members
        },
        functools.partial(load_trajectory, run),
        functools.cache(functools.partial(_load_network, run)),
    )


def _load_network(run: RunDirectory) -> Network | None:
    """The network of all members; None if they differ in it, or without its weights."""
    config = run.manifest["config"]
    varied = {p for axis in run.manifest["axes"] for p in axis["field"].split(", ")}
    if varied & (_NETWORK_FIELDS | {"weights"}):
        return None
    try:
        network = load_network(find_file("weights", config["weights"]))
    except RequestError:  # The run may have been moved to another machine.
        return None
    # A run.json without the field is of a version that dropped odd rows.
    options: dict[str, Any] = {"pool_rounding": "floor"}
    options |= {name: config[name] for name in _NETWORK_FIELDS if name in config}
    return network.with_options(**options)


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
    return member.entry["varies"].get("steps", run.manifest["config"]["steps"])


def _read_pixels(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _write_picture(path: pathlib.Path, item: Plot | Matrix | Picture) -> None:
    if isinstance(item, Picture):
        write_atomically(path, Image.fromarray(to_bytes(item.picture)).save)
        return
    import matplotlib.figure  # A slow import.

    figure = matplotlib.figure.Figure(figsize=(6.5, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    if isinstance(item, Plot):
        _draw_plot(axes, item)
        if len(item.series) > 1:
            figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    else:
        ticks = range(len(item.labels))
        shades = axes.imshow(item.values, vmin=0)
        axes.set_xticks(ticks, item.labels, rotation=90, fontsize=7)
        axes.set_yticks(ticks, item.labels, fontsize=7)
        figure.colorbar(shades)
    write_atomically(path, figure.savefig)


def _draw_plot(axes: Any, plot: Plot) -> None:
    for series in plot.series:
        y = np.array(series.y, np.float64)
        ends = np.array([series.low, series.high], np.float64)
        axes.errorbar(
            series.x,
            y,
            np.abs(ends - y) if series.low else None,
            fmt="o-" if plot.lines else "o",
            markersize=3,
            capsize=2,
            label=series.label,
        )
    axes.set(xlabel=plot.x_label, ylabel=plot.y_label, yscale=plot.y_scale)
    if any(isinstance(x, str) for series in plot.series for x in series.x):
        axes.tick_params("x", labelrotation=30)
    if plot.x_scale == "log":
        axes.set_xscale("log")
    axes.grid(alpha=0.3, which="both")


def _write_clip(path: pathlib.Path, clip: Clip, fps: float) -> None:
    frames: Sequence[pathlib.Path] = [
        path.with_suffix("") / f"{t:06d}.png" for t in range(len(clip.frames))
    ]
    for file, frame in zip(frames, clip.frames, strict=True):
        write_atomically(file, Image.fromarray(to_bytes(frame)).save)
    write_mp4(path, frames, fps)
