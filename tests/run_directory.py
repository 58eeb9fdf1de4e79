"""Run directories of runs that never ran."""

import itertools
import json
import math

import numpy as np
from pictures import smooth_picture
from PIL import Image


def write_run(
    folder,
    axes,
    *,
    size=(24, 36),
    paint=None,
    steps=(0, 5, 10),
    waiting=(),
    diverged=(),
    frames=0,
    command="launch.py --config=configs/x.py",
    content="samples/chelsea.png",
):
    """Write a run directory as a run leaves it, and return it.

    Args:
      folder: the directory; it may exist.
      axes: (name, labels) outermost first; none for one member.
      size: (height, width), or a function of the member.
      paint: function of (member, height, width) that returns an image [H, W, 3]; None
        for smooth images.
      steps: steps of the metrics rows.
      waiting: members without a result.
      diverged: members whose loss is not finite.
      frames: number of snapshots of each member.
      command: command in run.json.
      content: path of the content in run.json.
    """
    paint = paint or smooth_picture
    folder.mkdir(parents=True, exist_ok=True)
    shape = size if callable(size) else lambda member: size
    grid = list(itertools.product(*(range(len(labels)) for _, labels in axes)))
    members, rows = [], []
    for member, index in enumerate(grid):
        values = list(zip(axes, index, strict=True))
        entry = {
            "member": member,
            "seed": next((i for (name, _), i in values if name == "seed"), 0),
            "index": list(index),
            "label": ", ".join(f"{name} {labels[i]}" for (name, labels), i in values),
            "varies": {name: labels[i] for (name, labels), i in values},
            "status": "waiting",
            "group": 0,
            "content": 0,
            "styles": [1],
            "layers": ["relu4_2"],
            "steps": [max(steps[-1], 5 * (frames - 1)) if steps else 0],
        }
        member_folder = folder / "members" / f"{member:03d}"
        if member not in waiting:
            losses = [
                1e6 * (1 + member) * (0.02 + math.exp(-step / 10)) for step in steps
            ]
            entry |= {
                "status": "diverged" if member in diverged else "done",
                "loss": None if member in diverged else losses[-1],
                "evaluations": steps[-1] + 1,
                "failed_line_searches": 0,
                "rollbacks": 0,
                "rows": len(steps),
                "sha256": "0" * 64,
            }
            rows += [
                {
                    "member": member,
                    "seed": entry["seed"],
                    "stage": 0,
                    "step": step,
                    "loss": None if member in diverged and step else loss,
                    "terms": {"content/relu4_2": 0.25 * loss, "style": 0.75 * loss},
                    "grad_norm": loss,
                    "step_length": 1.0,
                    "evaluations": step + 1,
                    "failed_line_searches": 0,
                    "rollbacks": 0,
                    "seconds": 0.1 * step,
                }
                for step, loss in zip(steps, losses, strict=True)
            ]
            _save(member_folder / "final.png", paint(member, *shape(member)))
        if frames:
            end = paint(member, *shape(member))
            for i in range(frames):
                share = i / max(frames - 1, 1)
                frame = (1 - share) * 0.5 + share * end
                _save(member_folder / "frames" / f"{5 * i:06d}.png", frame)
        members.append(entry)
    _save(folder / "inputs" / "000.png", smooth_picture(1000, *shape(0)))
    _save(folder / "inputs" / "001.png", smooth_picture(1001, 30, 30))
    manifest = {
        "status": "interrupted" if waiting else "done",
        "command": command,
        "versions": {"python": "3.11.7", "jax": "0.10.0"},
        "device": {"platform": "cpu", "kind": "cpu", "count": 1, "cpu_count": 2},
        "config": {
            "content": content,
            "styles": ["samples/swirls.jpg"],
            "terms": [{"type": "Content", "weight": 5.0, "layers": ["relu4_2"]}],
            "weights": "none.safetensors",
            "pooling": "max",
            "steps": steps[-1] if steps else 0,
            "seeds": [0],
            "output": {"log_every": 5, "fps": 8},
        },
        "numerics": {"precision": "highest"},
        "inputs": [
            _input("content", content, shape(0), "inputs/000.png"),
            _input("styles[0]", "samples/swirls.jpg", (30, 30), "inputs/001.png"),
            _input("weights", "weights/vgg19.safetensors", None, None),
        ],
        "axes": [
            {"field": "seeds" if name == "seed" else name, "name": name}
            | {"labels": list(map(str, labels))}
            for name, labels in axes
        ],
        "members": members,
        "groups": [
            {"group": 0, "count": len(members), "size": list(shape(0))}
            | {"strategy": "vmap", "convolution": "direct", "batch_size": 8}
            | {"compile_s": 5.2, "run_s": 30.1, "member_steps": 80}
        ],
        "timings": {"compile_s": 5.2, "run_s": 30.1, "step_s": 0.1, "total_s": 36.0},
        "member_steps": 80,
        "earlier_calls": [],
    }
    (folder / "run.json").write_text(json.dumps(manifest, indent=2))
    if rows:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "metrics.jsonl").write_text(lines)
    return folder


def _input(role, path, size, picture):
    entry = {"role": role, "path": path, "sha256": "0" * 64, "picture": picture}
    return entry | {"size": size and list(size)}


def _save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.round(np.clip(np.nan_to_num(picture), 0, 1) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)
