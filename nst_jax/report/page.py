"""The report page: one self-contained HTML file per run."""

import base64
import contextlib
import datetime
import functools
import gzip
import itertools
import math
import pathlib
from typing import Any

import msgspec

from nst_jax.core.atomic import write_atomically
from nst_jax.core.errors import RequestError
from nst_jax.core.extras import require_extra
from nst_jax.images.io import is_complete_png
from nst_jax.report import embed
from nst_jax.report.curves import curves
from nst_jax.report.run_directory import Member, RunDirectory
from nst_jax.studies.formatting import evenly_spaced
from nst_jax.workdir.schema import decode

#: Members whose starting images and videos are embedded, at most; else none are.
_EMBEDDED_MEMBERS = 16
#: Members (evenly spaced) and inputs whose images are embedded, at most.
_PICTURED, _INPUTS = 3000, 64
#: Members whose snapshots are shown, snapshots of each, and their longer side.
_SNAPSHOT_MEMBERS, _SNAPSHOTS, _SNAPSHOT_SIDE = 4, 8, 256
#: Bytes of the videos of all members, and of a study, that are embedded, at most.
_FILMS = 15_000_000


def write_page(run: RunDirectory) -> None:
    """Write `report.html`.

    Raises:
      RequestError: study.json is invalid, or a package of the `report` extra is
        missing.
    """
    require_extra("report", "the report")
    finished = [member for member in run.members if member.picture]
    pictured = finished[:: math.ceil(len(finished) / _PICTURED) or 1]
    pictures = embed.jpegs([member.picture for member in pictured if member.picture])
    html = _template().render(
        run=run,
        manifest=run.manifest,
        title=run.workdir.resolve().name,
        written=datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        finished=len(finished),
        pictures={m.number: url for m, url in zip(pictured, pictures, strict=True)},
        inputs=_inputs(run),
        pages=_pages(run),
        data=_script_data(run, pictured),
        curves=curves(run),
        warnings=run.manifest.get("warnings", []),
        study=_study(run),
        snapshots=_snapshots(run),
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


def _pages(run: RunDirectory) -> list[dict[str, Any]]:
    """A grid of members for each setting of the outer axes; none below two axes."""
    if len(run.axes) < 2:
        return []
    rows, columns = (range(len(axis.labels)) for axis in run.axes[-2:])
    return [
        {
            "key": ",".join(map(str, page)),
            "title": run.page_title(page),
            "rows": [[run.by_index.get((*page, r, c)) for c in columns] for r in rows],
        }
        for page in run.pages()
    ]


def _inputs(run: RunDirectory) -> list[dict[str, Any]]:
    """The first `_INPUTS` input images with their data URLs."""
    pictures = (
        {**item, "number": i, "data": embed.jpeg(path)}
        for i, item in enumerate(run.manifest["inputs"])
        if (path := run.input_picture(i))
    )
    return list(itertools.islice(pictures, _INPUTS))


def _script_data(run: RunDirectory, pictured: list[Member]) -> dict[str, Any]:
    """The members' data that the page's script reads."""
    starts = {member.number: member.start for member in pictured if member.start}
    if len(starts) > _EMBEDDED_MEMBERS:
        starts = {}
    films = [member for member in run.members if member.film.is_file()]
    size = sum(member.film.stat().st_size for member in films)
    embeds_films = len(films) <= _EMBEDDED_MEMBERS and size <= _FILMS
    return {
        "members": {
            str(member.number): {
                "label": member.label,
                "caption": member.caption,
                "content": member.entry["content"],
                "index": member.index,
                "facts": _facts(member),
                "file": f"{member.folder.name}/{member.picture.name}"
                if member.picture
                else "",
            }
            for member in run.members
        },
        "starts": {str(n): embed.jpeg(path) for n, path in starts.items()},
        "films": {
            str(member.number): embed.mp4(member.film)
            if embeds_films
            else str(member.film.relative_to(run.workdir))
            for member in films
        },
    }


def _snapshots(run: RunDirectory) -> list[dict[str, Any]]:
    """Snapshots of some members, with their steps."""
    recorded = [member for member in run.members if len(member.frames) > 1]
    snapshots = []
    for member in recorded[:_SNAPSHOT_MEMBERS]:
        frames = [
            (int(file.stem), embed.jpeg(file, _SNAPSHOT_SIDE))
            for file in evenly_spaced(member.frames, _SNAPSHOTS)
        ]
        snapshots.append({"label": member.label, "frames": frames})
    return snapshots


def _facts(member: Member) -> str:
    """Number, seed, status and counters of a member, in a line."""
    entry = member.entry
    facts = [f"member {member.number:03d}", f"seed {entry['seed']}", entry["status"]]
    if entry["status"] != "waiting":
        facts.append(f"{entry['evaluations']} evaluations")
        facts.append(f"{entry['failed_line_searches']} failed line searches")
        if entry.get("rollbacks"):
            facts.append(f"{entry['rollbacks']} rollbacks after NaN")
    return " · ".join(facts)


class _Table(msgspec.Struct):
    title: str
    columns: list[str]
    rows: list[list[Any]]


class _File(msgspec.Struct):
    title: str
    file: str


class _Study(msgspec.Struct):
    summary: list[str] = []
    tables: list[_Table] = []
    pictures: list[_File] = []
    films: list[_File] = []


def _study(run: RunDirectory) -> dict[str, Any]:
    """The content of study.json, with data URLs for its files."""
    study = _read_study(run.workdir / "study.json")
    folder = run.workdir / "study"  # A name cannot lead out of it.
    pictures = [
        (p, folder / pathlib.PurePosixPath(p.file).name) for p in study.pictures
    ]
    films = [(f, folder / pathlib.PurePosixPath(f.file).name) for f in study.films]
    films = [(film, path) for film, path in films if path.is_file()]
    embeds_films = sum(path.stat().st_size for _, path in films) <= _FILMS
    return {
        "summary": study.summary,
        "tables": study.tables,
        "pictures": [
            {"title": picture.title, "data": embed.jpeg(path, 1600)}
            for picture, path in pictures
            if is_complete_png(path)
        ],
        "films": [
            {
                "title": film.title,
                "file": str(path.relative_to(run.workdir)),
                "data": embed.mp4(path) if embeds_films else None,
            }
            for film, path in films
        ],
    }


def _read_study(path: pathlib.Path) -> _Study:
    if not path.exists():
        return _Study()
    try:
        return decode(path.read_text(), _Study)
    except msgspec.ValidationError as error:
        reason = f": {error}"
    except OSError as error:
        reason = f": {error.strerror}"
    except ValueError as error:
        reason = f" is not JSON ({error})"
    raise RequestError(f"the study cannot be read: {path.name}{reason}")


def _groups(run: RunDirectory) -> dict[str, Any]:
    """The table of compiled programs."""
    groups = [dict(group) for group in run.manifest["groups"]]
    for group in groups:
        height, width = group.pop("size")
        group["pixels"] = f"{width}×{height}"
    return {
        "columns": list(groups[0]) if groups else [],
        "rows": [list(group.values()) for group in groups],
    }


def _files(run: RunDirectory) -> list[str]:
    """Files beside the page that it links to."""
    names = ["sheet.png", "curves.svg", "metrics.jsonl", "run.json", "study.json"]
    gifs = (member.film.with_suffix(".gif") for member in run.members)
    names += [str(gif.relative_to(run.workdir)) for gif in gifs if gif.is_file()]
    return [name for name in names if (run.workdir / name).is_file()]


@functools.cache
def _plotly_script() -> str:
    """plotly.js, compressed; the page decompresses it to draw the curves."""
    import plotly.offline  # A slow import.

    script = plotly.offline.get_plotlyjs().encode()
    return base64.b64encode(gzip.compress(script, mtime=0)).decode()
