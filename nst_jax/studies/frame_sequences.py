"""The videos of a run: members along the axis of frames."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nst_jax.images.video import Film
from nst_jax.metrics.flicker import Flicker, flicker
from nst_jax.metrics.statistics import Estimate, jackknife
from nst_jax.studies.run_data import RunData


@dataclasses.dataclass(frozen=True)
class FrameSequence:
    """Videos that differ in nothing but the seed.

    Attributes:
      labels: labels of the setting, one for each of `RunData.other_axes`.
      film: the filmed content in words; "" if all videos have the same.
      policy: the rest of the setting in words.
      method: `policy` without the starting image.
      canvas: config of the starting image.
      seeds: grid coordinates of each seed.
      has_one_content: all frames have the same content image.
      motion: [T, 2] camera motion as for `align_frames`; None for a fixed camera.
      contents: content images [T, H, W, 3].
      frames: exact canvases [T, H, W, 3] of each seed.
      flickers: flicker of each seed, after motion compensation.
    """

    labels: tuple[str, ...]
    film: str
    policy: str
    method: str
    canvas: dict[str, Any]
    seeds: tuple[tuple[int, ...], ...]
    has_one_content: bool
    motion: np.ndarray | None
    contents: np.ndarray
    frames: tuple[np.ndarray, ...]
    flickers: tuple[Flicker, ...]

    @property
    def change(self) -> Estimate:
        """Mean absolute change between frames, over the seeds."""
        changes = np.array([seed.change for seed in self.flickers])
        return jackknife(lambda seeds: float(changes[seeds].mean()), len(changes))

    @property
    def content_change(self) -> float:
        return self.flickers[0].content_change

    @property
    def ratio(self) -> float | None:
        """Change of the result relative to the content's; None for a still content."""
        if not self.content_change:
            return None
        return self.change.value / self.content_change

    @property
    def title(self) -> str:
        return ", ".join(filter(None, (self.film, self.policy))) or "all"


def frame_sequences(run_data: RunData, axis: int) -> list[FrameSequence]:
    """Return all videos whose frames are complete, in the order of the grid.

    Args:
      run_data: data with exact canvases.
      axis: the axis of frames.
    """
    assert run_data.trajectory is not None
    entries, setting_axes = run_data.run["members"], run_data.other_axes(axis)
    seed_axes = [] if run_data.seed_axis is None else [run_data.seed_axis]
    sections = [{path.split(".")[0] for path in paths} for paths in run_data.fields]
    film_axes = [a for a in setting_axes if sections[a] <= {"film", "content"}]
    policy_axes = [a for a in setting_axes if a not in film_axes]
    method_axes = [a for a in policy_axes if sections[a] != {"canvas"}]
    sequences = []
    for all_seeds in run_data.seeds_by_setting(axis):
        seeds = [
            sorted(members, key=lambda member: entries[member]["varies"]["frame"])
            for members in all_seeds
            if _is_complete(run_data, members)
        ]
        if not seeds:
            continue
        first = seeds[0]
        contents = np.stack([run_data.contents[m] for m in first])
        motion = _camera_motion(run_data, first, contents.shape[2])
        frames = tuple(
            np.stack([run_data.trajectory(m)[1][-1] for m in members])
            for members in seeds
        )
        sequences.append(
            FrameSequence(
                labels=tuple(run_data.labels(first[0], setting_axes)),
                film=run_data.describe(first[0], film_axes),
                policy=run_data.describe(first[0], policy_axes),
                method=run_data.describe(first[0], method_axes),
                canvas=_member_config(run_data, first[0], "canvas"),
                seeds=tuple(run_data.index(members[0], seed_axes) for members in seeds),
                has_one_content=len({entries[m].get("content") for m in first}) == 1,
                motion=motion,
                contents=contents,
                frames=frames,
                flickers=tuple(flicker(video, contents, motion) for video in frames),
            )
        )
    return sequences


def _is_complete(run_data: RunData, members: Sequence[int]) -> bool:
    """Return whether all frames have a content and a result of one shape."""
    images = run_data.finals, run_data.contents
    if not all(m in by_member for m in members for by_member in images):
        return False
    return len({by_member[m].shape for m in members for by_member in images}) == 1


def _member_config(run_data: RunData, member: int, section: str) -> dict[str, Any]:
    """Return a section of the config with the values of a member."""
    varies = run_data.run["members"][member]["varies"]
    prefix = section + "."
    fields = {
        path.removeprefix(prefix): value
        for path, value in varies.items()
        if path.startswith(prefix)
    }
    return {**run_data.run["config"][section], **varies.get(section, {}), **fields}


def _camera_motion(
    run_data: RunData, members: Sequence[int], width: int
) -> np.ndarray | None:
    film = Film(**_member_config(run_data, members[0], "film"))
    numbers = [run_data.run["members"][m]["varies"]["frame"] for m in members]
    motion = np.array([film.displacement(number) for number in numbers])
    motion -= motion[0]
    # Frames that share no pixel with the first one cannot be aligned.
    return motion if 0 < np.ptp(motion[:, 1]) < width else None
