"""The findings of a run, into its directory."""

import dataclasses
import functools
import json
import pathlib

import numpy as np
from PIL import Image

from nst_jax.io import write_whole
from nst_jax.report.run import Run
from nst_jax.studies.findings import Difference, Plot, findings


def write_findings(run: Run) -> None:
    """Writes `study.json`, and into `study/` the pictures that it names.

    What is compared is `final.png`, for a person looks at that; a member that has
    diverged is left out.
    """
    members = [m for m in run.members if m.picture and m.entry["status"] == "done"]
    contents = functools.cache(lambda number: _content(run, number))
    found = findings(
        run.manifest,
        {m.number: _pixels(m.picture) for m in members if m.picture},
        run.rows,
        {
            m.number: content
            for m in members
            if (content := contents(run.content_input(m))) is not None
        },
    )
    pictures = []
    to_show: list[Plot | Difference] = [*found.plots, *found.differences]
    for i, shown in enumerate(to_show):
        file = run.workdir / f"study/{i:03d}.png"
        if isinstance(shown, Plot):
            _draw(file, shown)
        else:
            _paint(file, shown)
        name = str(file.relative_to(run.workdir))
        pictures.append({"title": shown.title, "file": name})
    study = {
        "summary": found.summary,
        "tables": [dataclasses.asdict(table) for table in found.tables],
        "plots": [dataclasses.asdict(plot) for plot in found.plots],
        "pictures": pictures,
    }
    text = json.dumps(study, indent=2) + "\n"
    write_whole(
        run.workdir / "study.json",
        lambda partial: partial.write_text(text, encoding="utf-8"),
    )


def _pixels(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float32) / 255


def _content(run: Run, number: int) -> np.ndarray | None:
    """A content picture as it was used, if it was kept."""
    path = run.input_picture(number)
    return _pixels(path) if path else None


def _draw(path: pathlib.Path, plot: Plot) -> None:
    # A slow import, as for the curves.
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6.5, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.plot(plot.x, plot.y, "o-")
    axes.set(xlabel=plot.x_label, ylabel=plot.y_label, xscale="log", yscale="log")
    axes.grid(alpha=0.3, which="both")
    write_whole(path, figure.savefig)


def _paint(path: pathlib.Path, difference: Difference) -> None:
    pixels = np.round(255 * difference.picture.clip(0, 1)).astype(np.uint8)
    write_whole(path, Image.fromarray(pixels).save)
