"""The page: one self-contained HTML file a run, made from its run directory alone."""

import base64
import io
import json
import pathlib
from collections.abc import Iterable
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from nst_jax.image import to_bytes
from nst_jax.records import read_metrics, write_whole
from nst_jax.report.sheet import contact_sheet

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
)


def write_report(workdir: str | pathlib.Path) -> None:
    """Writes `sheet.png` and `report.html` from what a run directory holds.

    Members that are not done are left out, so it may be called at any time.
    """
    workdir = pathlib.Path(workdir)
    manifest = json.loads((workdir / "run.json").read_text())
    finals = {
        entry["member"]: np.load(
            workdir / "members" / f"{entry['member']:03d}" / "final.npy",
            allow_pickle=False,
        )
        for entry in manifest["members"]
        if entry["status"] in ("done", "diverged")
    }
    labels = [
        f"seed {entry['seed']}   loss {_number(entry['loss'])}"
        for entry in manifest["members"]
        if entry["member"] in finals
    ]
    if finals:
        sheet = contact_sheet(list(finals.values()), labels)
        write_whole(workdir / "sheet.png", sheet.save)
    html = _TEMPLATES.get_template("page.html.j2").render(
        run=manifest,
        config=json.dumps(manifest["config"], indent=2),
        pictures=[
            {"label": label, "data": _jpeg(picture)}
            for label, picture in zip(labels, finals.values(), strict=True)
        ],
        curves=_curves(read_metrics(workdir / "metrics.jsonl")),
    )
    write_whole(workdir / "report.html", lambda partial: partial.write_text(html))


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.6g}"


def _values(column: Iterable[float | None]) -> np.ndarray:
    return np.asarray(list(column), np.float64)  # None becomes NaN: a gap.


def _jpeg(picture: np.ndarray) -> str:
    """A picture [H, W, 3] as a data URL."""
    file = io.BytesIO()
    Image.fromarray(to_bytes(picture)).save(file, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _curves(rows: list[dict[str, Any]]) -> str:
    """Loss against step as an inline SVG: a line a member, or one a term for one."""
    # A slow import, and not needed by those who only write metrics.
    import matplotlib.figure

    members = sorted({row["member"] for row in rows})
    if not members:
        return ""
    figure = matplotlib.figure.Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for member in members:
        own = [row for row in rows if row["member"] == member]
        steps = [row["step"] for row in own]
        label = "total" if len(members) == 1 else f"seed {own[0]['seed']}"
        axes.plot(
            steps, _values(row["loss"] for row in own), label=label, linewidth=1.6
        )
        if len(members) == 1:
            for term in own[0]["terms"]:
                values = _values(row["terms"][term] for row in own)
                axes.plot(steps, values, label=term, linewidth=1)
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    if len(members) <= 12:
        axes.legend(fontsize=8, ncols=2)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()[file.getvalue().index("<svg") :]
