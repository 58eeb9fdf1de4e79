"""The page: one self-contained HTML file a run."""

import base64
import contextlib
import datetime
import gzip
import itertools
import math
import pathlib
from typing import Any, TypedDict

import msgspec
import numpy as np

from nst_jax.core.atomic import write_atomically
from nst_jax.core.errors import RequestError
from nst_jax.core.extras import require_extra
from nst_jax.images.io import is_complete_png
from nst_jax.report import embed
from nst_jax.report.curves import curves
from nst_jax.report.run_directory import Member, RunDirectory, read_json

#: Members whose starting pictures and films are in the page; those of more are not.
_FEW = 16
#: Members with a picture in the page, at most, evenly spread, and inputs: a browser
#: and a mail take no more. The others are in the folders beside it.
_PICTURED, _INPUTS = 3000, 64
#: Members whose way is shown, pictures of each at most, and their longer side.
_WAYS, _STATIONS, _STATION = 4, 8, 256
#: Bytes of all films of members in the page, at most, and of all films of the
#: findings; beyond it they are linked.
_FILMS = 15_000_000


def write_page(run: RunDirectory) -> None:
    """Write `report.html`.

    Raises:
      RequestError: a package of the `report` extra is missing.
    """
    require_extra("report", "the report")
    finished = [member for member in run.members if member.picture]
    shown = finished[:: math.ceil(len(finished) / _PICTURED) or 1]
    pictures = embed.jpegs([member.picture for member in shown if member.picture])
    urls = {m.number: url for m, url in zip(shown, pictures, strict=True)}
    html = _template().render(
        run=run,
        manifest=run.manifest,
        title=run.workdir.resolve().name,
        written=datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        finished=len(finished),
        pictures=urls,
        inputs=_inputs(run),
        pages=_pages(run),
        data=_data(run, shown),
        curves=curves(run),
        warnings=run.manifest.get("warnings", []),
        study=_study(run),
        ways=_ways(run),
        files=_files(run),
        groups=_groups(run),
        plotly=_plotly() if run.rows else "",
    )
    write_atomically(
        run.workdir / "report.html",
        lambda partial: partial.write_text(html, encoding="utf-8", errors="replace"),
    )


def is_outdated(workdir: pathlib.Path) -> bool:
    """Whether a finished run's report is missing, or of before its end."""
    page, sheet = workdir / "report.html", workdir / "sheet.png"
    ended = (workdir / "run.json").stat().st_mtime_ns
    return not sheet.exists() or not page.exists() or page.stat().st_mtime_ns < ended


def remove_page(workdir: str | pathlib.Path) -> None:
    """Removes a page that says what is no longer so, which a full disk allows too."""
    with contextlib.suppress(OSError):
        (pathlib.Path(workdir) / "report.html").unlink(missing_ok=True)


def _pages(run: RunDirectory) -> list[dict[str, Any]]:
    """The grids of panels, one a place along the outer axes; none for a flow."""
    if len(run.axes) < 2:
        return []
    rows, columns = (range(len(axis.labels)) for axis in run.axes[-2:])
    return [
        {
            "key": ",".join(map(str, page)),
            "title": run.page_title(page),
            "rows": [
                [run.at.get((*page, row, column)) for column in columns] for row in rows
            ],
        }
        for page in run.pages()
    ]


def _inputs(run: RunDirectory) -> list[dict[str, Any]]:
    """The first `_INPUTS` of the inputs that are pictures, with their data."""
    pictures = (
        {**item, "number": i, "data": embed.jpeg(path)}
        for i, item in enumerate(run.manifest["inputs"])
        if (path := run.input_picture(i))
    )
    return list(itertools.islice(pictures, _INPUTS))


def _data(run: RunDirectory, shown: list[Member]) -> dict[str, Any]:
    """What the page's script knows of the members beside their pictures."""
    starts = [member for member in shown if member.start][: _FEW + 1]
    films = [member for member in run.members if member.film.is_file()]
    inside = (
        len(films) <= _FEW
        and sum(member.film.stat().st_size for member in films) <= _FILMS
    )
    return {
        "members": {
            str(member.number): {
                "label": member.label,
                "caption": member.caption,
                "content": run.content_input(member),
                "index": member.index,
                "facts": _facts(member),
                "file": f"{member.folder.name}/{member.picture.name}"
                if member.picture
                else "",
            }
            for member in run.members
        },
        "starts": {
            str(member.number): embed.jpeg(member.start)
            for member in starts
            if member.start and len(starts) <= _FEW
        },
        "films": {
            str(member.number): embed.mp4(member.film)
            if inside
            else str(member.film.relative_to(run.workdir))
            for member in films
        },
    }


def _ways(run: RunDirectory) -> list[dict[str, Any]]:
    """Some pictures kept on the way of some members, with the steps they are of."""
    ways = []
    for member in [m for m in run.members if len(m.frames) > 1][:_WAYS]:
        count = min(len(member.frames), _STATIONS)
        chosen = np.linspace(0, len(member.frames) - 1, count).round().astype(int)
        frames = [member.frames[i] for i in chosen]
        ways.append(
            {
                "label": member.label,
                "frames": [(int(f.stem), embed.jpeg(f, _STATION)) for f in frames],
            }
        )
    return ways


def _facts(member: Member) -> str:
    """What run.json says of how a member went, in a line."""
    entry = member.entry
    facts = [f"member {member.number:03d}", f"seed {entry['seed']}", entry["status"]]
    if entry["status"] != "waiting":
        facts.append(f"{entry['evaluations']} evaluations")
        facts.append(f"{entry['failed_line_searches']} failed line searches")
        if entry.get("rollbacks"):
            facts.append(f"{entry['rollbacks']} times back to its best after NaN")
    return " · ".join(facts)


class _Table(TypedDict):
    title: str
    columns: list[str]
    rows: list[list[Any]]


class _Shown(TypedDict):
    title: str
    file: str


class _Study(TypedDict, total=False):
    summary: list[str]
    tables: list[_Table]
    pictures: list[_Shown]
    films: list[_Shown]


def _study(run: RunDirectory) -> dict[str, Any]:
    """What a study found, if one left its findings in the run directory."""
    path = run.workdir / "study.json"
    otherwise = "the findings cannot be read"
    found = read_json(path, otherwise) if path.exists() else {}
    try:
        msgspec.convert(found, _Study)
    except ValueError as error:
        raise RequestError(f"{otherwise}: {path.name}: {error}") from None
    films = [
        (item, film)
        for item in found.get("films", [])
        if (film := _beside(run, item["file"])).is_file()
    ]
    inside = sum(film.stat().st_size for _, film in films) <= _FILMS
    return {
        "summary": found.get("summary", []),
        "tables": found.get("tables", []),
        "pictures": [
            {"title": item["title"], "data": embed.jpeg(picture, 1600)}
            for item in found.get("pictures", [])
            if is_complete_png(picture := _beside(run, item["file"]))
        ],
        "films": [
            {
                "title": item["title"],
                "file": str(film.relative_to(run.workdir)),
                "data": embed.mp4(film) if inside else None,
            }
            for item, film in films
        ],
    }


def _beside(run: RunDirectory, file: str) -> pathlib.Path:
    """A file of the study, which lies in its folder whatever its name says."""
    return run.workdir / "study" / pathlib.PurePosixPath(file).name


def _groups(run: RunDirectory) -> dict[str, Any]:
    """The table of the programs that were compiled; no rows where none is."""
    groups = [dict(group) for group in run.manifest["groups"]]
    for group in groups:
        height, width = group.pop("size")
        group["pixels"] = f"{width}×{height}"
    return {
        "columns": list(groups[0]) if groups else [],
        "rows": [list(group.values()) for group in groups],
    }


def _files(run: RunDirectory) -> list[str]:
    """The files beside the page that it links to."""
    names = ["sheet.png", "curves.svg", "metrics.jsonl", "run.json", "study.json"]
    gifs = (member.film.with_suffix(".gif") for member in run.members)
    names += [str(gif.relative_to(run.workdir)) for gif in gifs if gif.is_file()]
    return [name for name in names if (run.workdir / name).is_file()]


def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def _plotly() -> str:
    """The library that draws curves, packed: the page unpacks it when it draws."""
    import plotly.offline

    script = plotly.offline.get_plotlyjs().encode()
    return base64.b64encode(gzip.compress(script, mtime=0)).decode()
