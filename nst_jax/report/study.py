"""The findings of a run, into its directory."""

import dataclasses
import json
from typing import Any

import numpy as np
from PIL import Image

from nst_jax.io import write_whole
from nst_jax.report.run import Run
from nst_jax.studies.findings import Plot, findings


def write_study(run: Run) -> None:
    """Writes `study.json`, and into `study/` the plots that it names.

    Pictures are taken from `final.png`: a person looks at those.
    """
    finals = {m.number: _pixels(m.picture) for m in run.members if m.picture}
    contents = {
        number: content
        for member in run.members
        if (number := member.number) in finals
        and (content := _content(run, member.entry)) is not None
    }
    losses = {
        member: ([row["step"] for row in rows], [row["loss"] for row in rows])
        for member, rows in run.rows.items()
    }
    found = findings(run.manifest, finals, losses, contents)
    pictures = []
    for i, plot in enumerate(found.plots):
        file = f"study/{i:03d}.png"
        _draw(run, file, plot)
        pictures.append({"title": plot.title, "file": file})
    study = {**dataclasses.asdict(found), "pictures": pictures}
    text = json.dumps(study, indent=2) + "\n"
    write_whole(
        run.workdir / "study.json",
        lambda partial: partial.write_text(text, encoding="utf-8"),
    )


def _pixels(path: Any) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float32) / 255


def _content(run: Run, entry: dict[str, Any]) -> np.ndarray | None:
    """The content picture of a member, as it was used."""
    wanted = (entry.get("varies") or {}).get(
        "content", run.manifest["config"]["content"]
    )
    size = run.manifest["groups"][entry["group"]]["size"]
    for item in run.manifest["inputs"]:
        if (item["role"], item["path"], item["size"]) == ("content", wanted, size):
            path = run.workdir / item["picture"]
            return _pixels(path) if path.is_file() else None
    return None


def _draw(run: Run, file: str, plot: Plot) -> None:
    # A slow import, as for the curves.
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6.5, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.plot(plot.x, plot.y, "o-")
    axes.set(xlabel=plot.x_label, ylabel=plot.y_label, xscale="log", yscale="log")
    axes.grid(alpha=0.3, which="both")
    write_whole(run.workdir / file, figure.savefig)
