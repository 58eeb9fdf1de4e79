"""The films that a run has made: members along the axis of frames."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nst_jax.images.video import Film
from nst_jax.metrics.flicker import Flicker, flicker
from nst_jax.metrics.statistics import Estimate, jackknife
from nst_jax.studies.results import RunData


@dataclasses.dataclass(frozen=True)
class FrameSequence:
    """Films that differ in nothing but the seed.

    Attributes:
      labels: of its place, one for each of `RunData.other_axes`.
      film: what it is a film of, in words; "" if all are of one.
      policy: the rest of its place, in words.
      rest: that without what the canvas starts from.
      canvas: what it starts from, as in the config.
      seeds: their places on their axis.
      still: whether all frames are of one content.
      motion: [T, 2], as `flicker.aligned` wants it; None for a camera that stands
        still.
      contents: [T, H, W, 3].
      frames: [T, H, W, 3] of each seed, exact.
      flickers: of each seed, the motion taken back.
    """

    labels: tuple[str, ...]
    film: str
    policy: str
    rest: str
    canvas: dict[str, Any]
    seeds: tuple[tuple[int, ...], ...]
    still: bool
    motion: np.ndarray | None
    contents: np.ndarray
    frames: tuple[np.ndarray, ...]
    flickers: tuple[Flicker, ...]

    @property
    def change(self) -> Estimate:
        """Of the result from frame to frame, mean over the seeds."""
        changes = np.array([own.change for own in self.flickers])
        return jackknife(lambda seeds: float(changes[seeds].mean()), len(changes))

    @property
    def content_change(self) -> float:
        return self.flickers[0].content_change

    @property
    def ratio(self) -> float | None:
        """Change of the result by that of the content; None if there is none."""
        if not self.content_change:
            return None
        return self.change.value / self.content_change

    @property
    def std(self) -> float:
        """Root mean square of the temporal standard deviation, over the seeds too."""
        return float(np.sqrt(np.mean([own.std**2 for own in self.flickers])))

    @property
    def power(self) -> np.ndarray:
        """The temporal spectrum, mean over the seeds."""
        return np.mean([own.spectrum[1] for own in self.flickers], axis=0)

    @property
    def title(self) -> str:
        return ", ".join(filter(None, (self.film, self.policy))) or "all"


def frame_sequences(evidence: RunData, axis: int) -> list[FrameSequence]:
    """All films of which every frame is there, in the order of their places.

    Args:
      evidence: with exact canvases.
      axis: that of the frames.
    """
    axes, others = evidence.run["axes"], evidence.other_axes(axis)
    together: dict[tuple[int, ...], list[list[int]]] = {}
    for _, members in evidence.lines(axis):
        if _whole(evidence, members):
            index = evidence.run["members"][members[0]]["index"]
            place = tuple(index[i] for i in others)
            together.setdefault(place, []).append(
                sorted(members, key=lambda m: _varies(evidence, m)["frame"])
            )
    of_film = [i for i in others if _within(evidence.fields[i], "film", "content")]
    policies = [i for i in others if i not in of_film]
    rest = [i for i in policies if not _within(evidence.fields[i], "canvas")]

    def take(place: tuple[int, ...], lines: Sequence[Sequence[int]]) -> FrameSequence:
        labels = {a: axes[a]["labels"][i] for a, i in zip(others, place, strict=True)}

        def words(chosen: Sequence[int]) -> str:
            return ", ".join(f"{axes[a]['name']} {labels[a]}" for a in chosen)

        contents = np.stack([evidence.contents[m] for m in lines[0]])
        seeds = tuple(
            tuple(
                i
                for a, i in enumerate(evidence.run["members"][own[0]]["index"])
                if a not in (axis, *others)
            )
            for own in lines
        )
        motion = _motion(evidence, lines[0], contents.shape[2])
        frames = tuple(np.stack([_exact(evidence, m) for m in own]) for own in lines)
        return FrameSequence(
            tuple(labels.values()),
            words(of_film),
            words(policies),
            words(rest),
            _part(evidence, lines[0][0], "canvas"),
            seeds,
            len({evidence.run["members"][m].get("content") for m in lines[0]}) == 1,
            motion,
            contents,
            frames,
            tuple(flicker(own, contents, motion) for own in frames),
        )

    return [take(place, lines) for place, lines in sorted(together.items())]


def _whole(evidence: RunData, members: Sequence[int]) -> bool:
    """Whether every frame is there, and of one size."""
    if not all(m in evidence.finals and m in evidence.contents for m in members):
        return False
    pictures = [p[m] for m in members for p in (evidence.finals, evidence.contents)]
    return len({picture.shape for picture in pictures}) == 1


def _within(paths: tuple[str, ...], *parts: str) -> bool:
    """Whether all paths are of these parts of the config."""
    return all(path.split(".")[0] in parts for path in paths)


def _varies(evidence: RunData, member: int) -> dict[str, Any]:
    return evidence.run["members"][member]["varies"]


def _part(evidence: RunData, member: int, name: str) -> dict[str, Any]:
    """A part of the config as a member has it."""
    varies = _varies(evidence, member)
    own = {
        k.partition(".")[2]: v for k, v in varies.items() if k.startswith(name + ".")
    }
    return {**evidence.run["config"][name], **varies.get(name, {}), **own}


def _exact(evidence: RunData, member: int) -> np.ndarray:
    assert evidence.trajectory is not None
    return evidence.trajectory(member)[1][-1]


def _motion(evidence: RunData, members: Sequence[int], width: int) -> np.ndarray | None:
    film = Film(**_part(evidence, members[0], "film"))
    numbers = [_varies(evidence, m)["frame"] for m in members]
    moves = np.array([film.displacement(number) for number in numbers])
    moves -= moves[0]
    # Of a film that has left its own picture there is nothing to take back.
    return moves if 0 < np.ptp(moves[:, 1]) < width else None
