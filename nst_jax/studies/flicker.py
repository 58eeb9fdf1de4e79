"""How films flicker, and what of it is due to what their frames start from."""

import math
from collections.abc import Sequence

import numpy as np

from nst_jax.metrics.flicker import align_frames, flicker_map, side_by_side
from nst_jax.metrics.statistics import jackknife
from nst_jax.studies.frame_sequences import FrameSequence, frame_sequences
from nst_jax.studies.results import (
    Clip,
    Picture,
    Plot,
    RunData,
    Series,
    StudyResult,
    Table,
    levels,
    percent,
    rounded,
)

#: Pictures of where films flicker, and films beside their contents, at most.
MAPS, CLIPS = 6, 4


def study_flicker(evidence: RunData) -> StudyResult:
    """How much a film changes from frame to frame, beside its content.

    Of the exact canvases; a film of which a frame is missing is left out. What the
    camera moved is taken back before anything is measured.
    """
    axis = evidence.axis("frame")
    if axis is None or evidence.trajectory is None:
        return StudyResult()
    there = frame_sequences(evidence, axis)
    if not there:
        return StudyResult()
    names = [evidence.run["axes"][i]["name"] for i in evidence.other_axes(axis)]
    return StudyResult(
        (*_still(there), *_said(there)),
        (_table(there, names),),
        _spectra(there),
        pictures=_maps(there),
        clips=_clips(there),
    )


def _table(there: Sequence[FrameSequence], names: Sequence[str]) -> Table:
    bars = any(take.change.low is not None for take in there)
    return Table(
        "How much films change from frame to frame (levels of 255; what the camera "
        "moved is taken back)",
        (
            *(names or ("film",)),
            *("change of the content", "change of the result"),
            *(("95 % from", "to") if bars else ()),
            *("ratio", "temporal std"),
        ),
        tuple(
            (
                *(take.labels or ("all",)),
                *map(levels, (take.content_change, take.change.value)),
                *(map(levels, (take.change.low, take.change.high)) if bars else ()),
                *(rounded(take.ratio), levels(take.std)),
            )
            for take in there
        ),
    )


def _said(there: Sequence[FrameSequence]) -> list[str]:
    """A sentence for each policy, over all films."""
    said = []
    for policy in dict.fromkeys(take.policy for take in there):
        own = [take for take in there if take.policy == policy]
        head = f"{policy[:1].upper()}{policy[1:]}: from" if policy else "From"
        changes = [_amount(own[0], " of 255 levels"), *map(_amount, own[1:])]
        listed = ", ".join(changes)
        said.append(f"{head} frame to frame a value changes by {listed}.")
    return said


def _amount(take: FrameSequence, unit: str = "") -> str:
    change = take.change
    notes = [take.film] if take.film else []
    if change.low is not None:
        notes.append(f"95 %: {levels(change.low)} to {levels(change.high)}")
    if take.motion is not None:
        notes.append("the motion taken back")
    if take.ratio is not None:
        notes.append(f"{take.ratio:.2g} times what the content does")
    elif take.still or take.motion is not None:
        notes.append("the content does not change")
    else:
        notes.append("the content changes by less than a level")
    return f"{levels(change.value)}{unit} ({'; '.join(notes)})"


def _still(there: Sequence[FrameSequence]) -> list[str]:
    """What the noise alone does to films of which the content does not change."""
    alike: dict[tuple[str, ...], dict[str, FrameSequence]] = {}
    for take in there:
        unchanged = take.still and take.motion is None and not take.content_change
        if unchanged and take.canvas["kind"] in ("noise", "blend"):
            same_start = _start(take)
            own = alike.setdefault((take.film, take.rest, *same_start), {})
            own.setdefault(take.canvas["new"], take)
    starts = [set(start) for _, _, *start in alike]
    said = []
    for (_, rest, *start), own in alike.items():
        # What all start from needs no word.
        apart = [x for x in start if not all(x in other for other in starts)]
        words = ", ".join(filter(None, (rest, *apart)))
        where = f" ({words})" if words else ""
        new, rounding, same = map(own.get, ("noise", "rounding", "nothing"))
        if new:
            said.append(
                f"The same content in every frame{where}, and new noise to start from: "
                f"it flickers by {levels(new.change.value)} of 255 levels."
            )
        if rounding:
            share = ""
            if new and new.change.value:
                share = f", {_percent(rounding, new)} of what new noise makes"
            said.append(
                f"The same content and the same noise{where}, but one starting value "
                "one unit in the last place further in each frame: it flickers by "
                f"{levels(rounding.change.value)} of 255 levels{share}."
            )
        if same:
            said.append(
                f"The same content, the same noise and nothing new{where}: "
                + (
                    "all frames are the same to the last bit."
                    if all((film == film[0]).all() for film in same.frames)
                    else "the frames are not the same to the last bit, and it flickers "
                    f"by {levels(same.change.value)} of 255 levels."
                )
            )
    return said


def _start(take: FrameSequence) -> list[str]:
    """What a take starts from, but for what each frame has of its own."""
    return [f"canvas.{k} {v}" for k, v in take.canvas.items() if k != "new"]


def _percent(take: FrameSequence, other: FrameSequence) -> str:
    """What one changes by that of the other, the same seeds being left out of both."""
    if take.seeds != other.seeds:
        return f"{percent(take.change.value / other.change.value)} %"
    changes = np.array([[own.change for own in x.flickers] for x in (take, other)])

    def ratio(seeds: np.ndarray) -> float:
        above, below = changes[:, seeds].mean(1)
        return float(above / below) if below else math.inf

    share = jackknife(ratio, len(take.seeds), positive=True)
    bars = ""
    if share.low is not None and share.high is not None:
        bars = f" (95 %: {percent(share.low)} to {percent(share.high)})"
    return f"{percent(share.value)} %{bars}"


def _spectra(there: Sequence[FrameSequence]) -> tuple[Plot, ...]:
    """Power against frequency: a plot for each film, a curve for each policy."""
    plots = []
    for film in dict.fromkeys(take.film for take in there):
        series = []
        for take in there:
            power = 255**2 * take.power[1:]  # The first is the mean's, left out.
            if take.film == film and power.any():
                y = tuple(float(p) if p > 0 else None for p in power)
                x = take.flickers[0].spectrum[0][1:]
                series.append(Series(take.policy, x, y))
        if series:
            title = "How fast it flickers" + (f": {film}" if film else "")
            axes = "cycles per frame", "power (levels of 255, squared)"
            plots.append(Plot(title, tuple(series), *axes))
    return tuple(plots)


def _shown(there: Sequence[FrameSequence]) -> list[FrameSequence]:
    """For each policy the first film that flickers."""
    shown: dict[str, FrameSequence] = {}
    for take in there:
        if take.flickers[0].change:
            shown.setdefault(take.policy, take)
    return list(shown.values())


def _maps(there: Sequence[FrameSequence]) -> tuple[Picture, ...]:
    pictures = []
    for take in _shown(there)[:MAPS]:
        frames = take.frames[0]
        if take.motion is not None:
            frames = align_frames(frames, take.motion)
        where = flicker_map(frames)
        gain = 1 / where.max()
        title = f"{take.title}: where it flickers, × {gain:.3g}"
        shades = np.repeat((gain * where)[..., None], 3, axis=2)
        pictures.append(Picture(title, shades.astype(np.float32)))
    return tuple(pictures)


def _clips(there: Sequence[FrameSequence]) -> tuple[Clip, ...]:
    clips = []
    for take in _shown(there)[:CLIPS]:
        frames, gain = side_by_side(take.contents, take.frames[0])
        title = f"{take.title}: content, result, and its change × {gain:.3g}"
        clips.append(Clip(title, frames))
    return tuple(clips)
