"""The findings of a run, into its directory."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
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
from nst_jax.studies.results import Clip, Matrix, Picture, Plot, RunData
from nst_jax.workdir.strict_json import to_json

#: Pictures that are held in memory, at most.
HELD = 1024
#: What of the config says how the network sees, beside its weights.
_EYES = ("pooling", "pool_rounding", "padding", "input_scale", "input_centred")


def write_study(run: RunDirectory) -> None:
    """Writes `study.json`, and into `study/` the pictures and films that it names.

    What is compared is `final.png`, for a person looks at that, and to the last bit
    the exact canvases that were kept; a member that has diverged is left out.
    """
    found = run_studies(_evidence(run))
    folder = run.workdir / "study"
    shown: list[tuple[str, str]] = []
    still: list[Plot | Matrix | Picture] = [*found.plots, *found.matrices]
    still += found.pictures
    for i, item in enumerate(still):
        shown.append((item.title, f"study/{i:03d}.png"))
        _write_picture(folder / f"{i:03d}.png", item)
    films: list[tuple[str, str]] = []
    for i, clip in enumerate(found.clips):
        films.append((clip.title, f"study/{i:03d}.mp4"))
        _write_film(folder, i, clip, run.fps)
    study = {
        "summary": found.summary,
        "tables": [dataclasses.asdict(table) for table in found.tables],
        "plots": [dataclasses.asdict(plot) for plot in found.plots],
        "matrices": [
            dataclasses.asdict(matrix) | {"values": matrix.values.tolist()}
            for matrix in found.matrices
        ],
        "pictures": [{"title": title, "file": file} for title, file in shown],
        "films": [{"title": title, "file": file} for title, file in films],
    }
    text = to_json(study, indent=2) + "\n"
    write_atomically(
        run.workdir / "study.json",
        lambda partial: partial.write_text(text, encoding="utf-8"),
    )


class Pictures(Mapping[int, np.ndarray]):
    """Pictures by member, float32 [H, W, 3] in [0, 1].

    A file is read when it is asked for: thousands of members need no memory for all
    their pictures at once.
    """

    def __init__(
        self,
        files: Mapping[int, pathlib.Path],
        read: Callable[[pathlib.Path], np.ndarray],
    ):
        """Keep which file is whose; `read` returns a file's levels, uint8 [H, W, 3]."""
        self._files, self._read = files, read

    def __getitem__(self, member: int) -> np.ndarray:
        return np.asarray(self._read(self._files[member]), np.float32) / 255

    def __iter__(self) -> Iterator[int]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, member: object) -> bool:
        return member in self._files


def _evidence(run: RunDirectory) -> RunData:
    """Return a run's results in the form that the studies read."""
    members = {
        m.number: m for m in run.members if m.picture and m.entry["status"] == "done"
    }

    read = functools.lru_cache(HELD)(_levels)
    given = functools.cache(run.input_picture)
    contents = {n: given(m.entry["content"]) for n, m in members.items()}

    @functools.cache
    def style(number: int) -> np.ndarray | None:
        path = given(number)
        return np.asarray(read(path), np.float32) / 255 if path else None

    def styles(numbers: list[int]) -> list[np.ndarray]:
        return [picture for n in numbers if (picture := style(n)) is not None]

    @functools.cache
    def network() -> Network | None:
        config = run.manifest["config"]
        varied = {
            path for axis in run.manifest["axes"] for path in axis["field"].split(", ")
        }
        if not varied.isdisjoint(("weights", *_EYES)):
            return None  # No one network has seen all members.
        try:
            whole = load_network(find_file("weights", config["weights"]))
        except RequestError:  # The run may have been carried to another machine.
            return None
        # A run.json without the field is of a version that dropped odd rows.
        eyes = {"pool_rounding": "floor"} | {k: config[k] for k in _EYES if k in config}
        return whole.with_options(**eyes)

    rows = [(number, own) for number, own in run.rows.items() if own]
    return RunData(
        run.manifest,
        Pictures({n: m.picture for n, m in members.items() if m.picture}, read),
        {n: [r for r in own if r["stage"] == own[-1]["stage"]] for n, own in rows},
        Pictures({n: path for n, path in contents.items() if path}, read),
        {n: styles(m.entry.get("styles", [])) for n, m in members.items()},
        functools.partial(_trajectory, run),
        network,
    )


def _trajectory(run: RunDirectory, number: int) -> tuple[list[int], list[np.ndarray]]:
    """The exact canvases of a finished member, those that were kept and the last.

    Of its last stage: those before it are of other sizes.
    """
    member = run.members[number]
    kept = {int(file.stem): file for file in member.kept(".npy")}
    final = member.folder / "final.npy"
    if final.is_file():
        kept.setdefault(_steps(run, member), final)
    canvases = {}
    for step, file in kept.items():
        with contextlib.suppress(ValueError):  # A broken one is left out.
            canvases[step] = np.array(map_array(file))
    shapes = [canvas.shape for canvas in canvases.values()]
    last = {step: c for step, c in canvases.items() if c.shape == shapes[-1]}
    return list(last), list(last.values())


def _steps(run: RunDirectory, member: Member) -> int:
    """How many a finished member has made."""
    if rows := run.rows.get(member.number):
        return rows[-1]["step"]
    return member.entry["varies"].get("steps", run.manifest["config"]["steps"])


def _levels(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _write_picture(path: pathlib.Path, shown: Plot | Matrix | Picture) -> None:
    if isinstance(shown, Picture):
        write_atomically(path, Image.fromarray(to_bytes(shown.picture)).save)
        return
    # A slow import, as for the curves.
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6.5, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    if isinstance(shown, Plot):
        _draw(axes, shown)
    else:
        shades = axes.imshow(shown.values, vmin=0)
        places = range(len(shown.labels))
        axes.set_xticks(places, shown.labels, rotation=90, fontsize=7)
        axes.set_yticks(places, shown.labels, fontsize=7)
        figure.colorbar(shades)
    if isinstance(shown, Plot) and len(shown.series) > 1:
        figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    write_atomically(path, figure.savefig)


def _draw(axes: Any, plot: Plot) -> None:
    style = "o-" if plot.lines else "o"
    for series in plot.series:
        y = np.array(series.y, np.float64)
        bars = None
        if series.low:
            ends = np.array([series.low, series.high], np.float64)
            bars = np.abs(ends - y)
        axes.errorbar(
            series.x, y, bars, fmt=style, markersize=3, capsize=2, label=series.label
        )
    axes.set(xlabel=plot.x_label, ylabel=plot.y_label, yscale=plot.y_scale)
    if any(isinstance(x, str) for series in plot.series for x in series.x):
        axes.tick_params("x", labelrotation=30)
    if plot.x_scale == "log":
        axes.set_xscale("log")
    axes.grid(alpha=0.3, which="both")


def _write_film(folder: pathlib.Path, number: int, clip: Clip, fps: float) -> None:
    frames = []
    for t, frame in enumerate(clip.frames):
        file = folder / f"{number:03d}" / f"{t:06d}.png"
        write_atomically(file, Image.fromarray(to_bytes(frame)).save)
        frames.append(file)
    write_mp4(folder / f"{number:03d}.mp4", frames, fps)
