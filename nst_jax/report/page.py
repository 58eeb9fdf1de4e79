"""The report page: one self-contained HTML file per run."""

import base64
import contextlib
import datetime
import functools
import gzip
import io
import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from PIL import Image

from nst_jax.core.atomic import write_atomically
from nst_jax.core.extras import require_extra
from nst_jax.images.io import composite_on_white, is_complete_png
from nst_jax.report.curves import curves
from nst_jax.report.run_directory import RunDirectory
from nst_jax.report.study_results import read_study
from nst_jax.studies.formatting import evenly_spaced
from nst_jax.studies.results import Table

#: Members whose starting images and videos are embedded, at most; else none are.
_EMBEDDED_MEMBERS = 16
#: Members (evenly spaced) and inputs whose images are embedded, at most.
_PICTURED, _INPUTS = 3000, 64
#: Members whose snapshots are shown, at most.
_SNAPSHOT_MEMBERS = 4
#: Bytes of the videos of all members, and of a study, that are embedded, at most.
_FILMS = 15_000_000
#: Limits of the longer side of an embedded image in pixels, and its JPEG quality.
_LARGEST, _SMALLEST, _QUALITY = 1024, 48, 92
#: Budget of a page for the images of all members: pixels, and characters.
_PIXELS, _CHARACTERS = 16_000_000, 11_000_000


def write_page(run: RunDirectory) -> None:
    """Write `report.html`.

    Raises:
      RequestError: study.json is invalid, or a package of the `report` extra is
        missing.
    """
    require_extra("report", "the report")
    finished = [member for member in run.members if member.picture]
    pictured = finished[:: math.ceil(len(finished) / _PICTURED) or 1]
    pictures = jpegs([member.picture for member in pictured if member.picture])
    frames = {m.number: m.frames[0] for m in pictured if m.frames}
    starts = {n: frame for n, frame in frames.items() if int(frame.stem) == 0}
    films = {m.number: m.film for m in run.members if m.film.is_file()}
    study, folder = read_study(run.workdir), run.workdir / "study"
    # A name cannot lead out of the folder.
    study_pictures, study_films = (
        [(file.title, folder / pathlib.PurePosixPath(file.file).name) for file in files]
        for files in (study.pictures, study.films)
    )
    study_films = [(title, path) for title, path in study_films if path.is_file()]
    html = _template().render(
        run=run,
        manifest=run.manifest,
        title=run.workdir.resolve().name,
        written=datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        finished=len(finished),
        pictures={m.number: url for m, url in zip(pictured, pictures, strict=True)},
        inputs=[(i, path) for i, path in enumerate(run.inputs) if path][:_INPUTS],
        starts=starts if len(starts) <= _EMBEDDED_MEMBERS else {},
        films=films,
        embeds_films=len(films) <= _EMBEDDED_MEMBERS
        and _size(films.values()) <= _FILMS,
        curves=curves(run),
        study=study,
        study_pictures=[item for item in study_pictures if is_complete_png(item[1])],
        study_films=study_films,
        embeds_study_films=_size(path for _, path in study_films) <= _FILMS,
        snapshots=[m for m in run.members if len(m.frames) > 1][:_SNAPSHOT_MEMBERS],
        files=_files(run),
        groups=_groups(run),
        plotly=_plotly_script() if run.rows else "",
    )
    write_atomically(
        run.workdir / "report.html",
        lambda partial: partial.write_text(html, encoding="utf-8", errors="replace"),
    )


@functools.cache
def _template() -> Any:
    import jinja2  # A slow import.

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "jpeg": jpeg,
        "mp4": mp4,
        "evenly_spaced": evenly_spaced,
        "fields": msgspec.structs.asdict,
    }
    return environment.get_template("page.html.j2")


def is_outdated(workdir: pathlib.Path) -> bool:
    """Return whether a finished run has no report, or one older than its end."""
    page, sheet = workdir / "report.html", workdir / "sheet.png"
    ended = (workdir / "run.json").stat().st_mtime_ns
    return not sheet.exists() or not page.exists() or page.stat().st_mtime_ns < ended


def remove_page(workdir: str | pathlib.Path) -> None:
    """Remove an outdated page, if possible."""
    with contextlib.suppress(OSError):
        (pathlib.Path(workdir) / "report.html").unlink(missing_ok=True)


def _groups(run: RunDirectory) -> Table:
    """The table of compiled programs."""
    records = [msgspec.to_builtins(group) for group in run.manifest.groups]
    for record in records:
        height, width = record.pop("size")
        record["pixels"] = f"{width}×{height}"
    title = "Groups of members that share a compiled program"
    return Table.from_records(title, (), [((), record) for record in records])


def _files(run: RunDirectory) -> list[str]:
    """Files beside the page that it links to."""
    names = ["sheet.png", "curves.svg", "metrics.jsonl", "run.json", "study.json"]
    gifs = (member.film.with_suffix(".gif") for member in run.members)
    names += [str(gif.relative_to(run.workdir)) for gif in gifs]
    return [name for name in names if (run.workdir / name).is_file()]


@functools.cache
def _plotly_script() -> str:
    """plotly.js, compressed; the page decompresses it to draw the curves."""
    import plotly.offline  # A slow import.

    script = plotly.offline.get_plotlyjs().encode()
    return base64.b64encode(gzip.compress(script, mtime=0)).decode()


def _size(paths: Iterable[pathlib.Path]) -> int:
    """Bytes of files."""
    return sum(path.stat().st_size for path in paths)


def jpegs(paths: Sequence[pathlib.Path]) -> list[str]:
    """Return PNG files as JPEG data URLs, as large as the budget allows."""
    side = min(_LARGEST, math.isqrt(_PIXELS // max(len(paths), 1)))
    while True:
        urls = [jpeg(path, side) for path in paths]
        excess = sum(map(len, urls)) / _CHARACTERS
        if excess <= 1 or side == _SMALLEST:
            return urls
        side = max(_SMALLEST, int(0.95 * side / math.sqrt(excess)))


def jpeg(path: pathlib.Path, side: int = _LARGEST) -> str:
    """Return a PNG file as a JPEG data URL, its longer side at most `side`."""
    with Image.open(path, formats=("PNG",)) as image:
        picture = composite_on_white(image)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    # Chroma in full resolution: the page compares images pixel by pixel.
    picture.save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return _data_url("image/jpeg", file.getvalue())


def mp4(path: pathlib.Path) -> str:
    """Return a video file as a data URL."""
    return _data_url("video/mp4", path.read_bytes())


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64," + base64.b64encode(content).decode()
