"""Flicker of videos, and the part of it that the starting noise causes."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nst_jax.images.video import Film
from nst_jax.metrics.flicker import (
    Flicker,
    align_frames,
    flicker,
    flicker_map,
    side_by_side,
)
from nst_jax.metrics.statistics import Estimate, jackknife
from nst_jax.studies.formatting import (
    format_interval,
    format_percent,
    round_digits,
    to_levels,
)
from nst_jax.studies.results import Clip, Picture, Plot, Series, StudyResult, Table
from nst_jax.studies.run_data import RunData

#: Flicker maps, and videos beside their contents, at most.
MAX_MAPS, MAX_CLIPS = 6, 4


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


def study_flicker(run_data: RunData) -> StudyResult:
    """Measure the change of each video between frames, beside its content's.

    Values are of exact canvases after motion compensation. Videos with a missing frame
    are left out.
    """
    axis = run_data.find_axis("frame")
    sequences = [] if axis is None else _frame_sequences(run_data, axis)
    if axis is None or not sequences:
        return StudyResult()
    names = [run_data.run.axes[i].name for i in run_data.other_axes(axis)]
    flickering = _flickering(sequences)
    return StudyResult(
        (*_noise_sentences(sequences), *_policy_sentences(sequences)),
        (_table(sequences, names),),
        _spectrum_plots(sequences),
        pictures=tuple(map(_flicker_map, flickering[:MAX_MAPS])),
        clips=tuple(map(_clip, flickering[:MAX_CLIPS])),
    )


def _table(sequences: Sequence[FrameSequence], names: Sequence[str]) -> Table:
    has_interval = any(sequence.change.low is not None for sequence in sequences)
    records = []
    for sequence in sequences:
        change = sequence.change
        record = {
            "change of the content": to_levels(sequence.content_change),
            "change of the result": to_levels(change.value),
        }
        if has_interval:
            record |= {"95 % from": to_levels(change.low), "to": to_levels(change.high)}
        record["ratio"] = round_digits(sequence.ratio)
        variances = [seed.std**2 for seed in sequence.flickers]
        record["temporal std"] = to_levels(math.sqrt(np.mean(variances)))
        records.append((sequence.labels or ("all",), record))
    title = "Change between frames (levels of 255, after motion compensation)"
    return Table.from_records(title, names or ["film"], records)


def _policy_sentences(sequences: Sequence[FrameSequence]) -> list[str]:
    """A sentence for each policy, over all films."""
    by_policy: dict[str, list[str]] = {}
    for sequence in sequences:
        changes = by_policy.setdefault(sequence.policy, [])
        changes.append(_format_change(sequence, "" if changes else " levels of 255"))
    return [
        (f"{policy[0].upper()}{policy[1:]}: mean" if policy else "Mean")
        + f" absolute change between frames {', '.join(changes)}."
        for policy, changes in by_policy.items()
    ]


def _format_change(sequence: FrameSequence, unit: str) -> str:
    change = sequence.change
    notes = [sequence.film] if sequence.film else []
    if interval := format_interval(change, to_levels):
        notes.append(interval)
    if sequence.motion is not None:
        notes.append("after motion compensation")
    if sequence.ratio is not None:
        notes.append(f"{sequence.ratio:.2g} times the change of the content")
    elif sequence.has_one_content or sequence.motion is not None:
        notes.append("the content does not change")
    else:
        notes.append("the content changes by less than a level")
    return f"{to_levels(change.value)}{unit} ({'; '.join(notes)})"


def _noise_sentences(sequences: Sequence[FrameSequence]) -> list[str]:
    """Flicker that the starting noise causes in videos of a still content."""
    by_start: dict[tuple[str, ...], dict[str, FrameSequence]] = {}
    for sequence in sequences:
        is_still = sequence.has_one_content and sequence.motion is None
        is_noisy = sequence.canvas["kind"] in ("noise", "blend")
        if is_still and is_noisy and not sequence.content_change:
            key = sequence.film, sequence.method, *_start_fields(sequence)
            policies = by_start.setdefault(key, {})
            policies.setdefault(sequence.canvas["per_frame"], sequence)
    sentences = []
    for (_, method, *start), policies in by_start.items():
        varied = [x for x in start if not all(x in key for key in by_start)]
        setting = ", ".join(filter(None, (method, *varied)))
        head = f"Same content in every frame{f' ({setting})' if setting else ''}"
        changes = {
            policy: f"flicker of {to_levels(sequence.change.value)} levels of 255"
            for policy, sequence in policies.items()
        }
        new, rounding, same = map(policies.get, ("noise", "rounding", "nothing"))
        if new:
            sentences.append(f"{head}, new starting noise in each: {changes['noise']}.")
        if rounding:
            share = ""
            if new and new.change.value:
                share = f", {_format_share(rounding, new)} of the flicker of new noise"
            sentences.append(
                f"{head}, same starting noise with one value moved by 1 ulp: "
                f"{changes['rounding']}{share}."
            )
        if same:
            outcome = f"frames are not bit-identical; {changes['nothing']}"
            if all((video == video[0]).all() for video in same.frames):
                outcome = "all frames are bit-identical"
            sentences.append(f"{head}, same starting noise: {outcome}.")
    return sentences


def _start_fields(sequence: FrameSequence) -> list[str]:
    """Config fields of the starting image that all frames share."""
    fields = sequence.canvas.items()
    return [f"canvas.{name} {value}" for name, value in fields if name != "per_frame"]


def _format_share(sequence: FrameSequence, reference: FrameSequence) -> str:
    """Change relative to a reference; the jackknife omits a seed from both."""
    if sequence.seeds != reference.seeds:
        return f"{format_percent(sequence.change.value / reference.change.value)} %"
    changes = np.array([[f.change for f in s.flickers] for s in (sequence, reference)])

    def ratio(seeds: np.ndarray) -> float:
        numerator, denominator = changes[:, seeds].mean(1)
        return float(numerator / denominator) if denominator else math.inf

    share = jackknife(ratio, len(sequence.seeds), positive=True)
    interval = format_interval(share, format_percent)
    return f"{format_percent(share.value)} %" + (f" ({interval})" if interval else "")


def _spectrum_plots(sequences: Sequence[FrameSequence]) -> tuple[Plot, ...]:
    """Temporal power spectra: a plot for each film, a curve for each policy."""
    by_film: dict[str, list[Series]] = {}
    for sequence in sequences:
        frequencies = sequence.flickers[0].spectrum[0][1:]  # Without the mean.
        spectra = [seed.spectrum[1][1:] for seed in sequence.flickers]
        power = 255**2 * np.mean(spectra, axis=0)
        if power.any():
            y = tuple(float(p) if p > 0 else None for p in power)
            series = by_film.setdefault(sequence.film, [])
            series.append(Series(sequence.policy, frequencies, y))
    labels = "cycles per frame", "power (levels of 255, squared)"
    return tuple(
        Plot(
            "Spectrum of the flicker" + (f": {film}" if film else ""), tuple(s), *labels
        )
        for film, s in by_film.items()
    )


def _flickering(sequences: Sequence[FrameSequence]) -> list[FrameSequence]:
    """First video of each policy that flickers."""
    first: dict[str, FrameSequence] = {}
    for sequence in sequences:
        if sequence.flickers[0].change:
            first.setdefault(sequence.policy, sequence)
    return list(first.values())


def _flicker_map(sequence: FrameSequence) -> Picture:
    frames = sequence.frames[0]
    if sequence.motion is not None:
        frames = align_frames(frames, sequence.motion)
    changes = flicker_map(frames)
    gain = 1 / changes.max()
    grey = np.repeat((gain * changes)[..., None], 3, axis=2).astype(np.float32)
    return Picture(f"{sequence.title}: mean change between frames, × {gain:.3g}", grey)


def _clip(sequence: FrameSequence) -> Clip:
    frames, gain = side_by_side(sequence.contents, sequence.frames[0])
    title = f"{sequence.title}: content, result, and its change × {gain:.3g}"
    return Clip(title, frames)


def _frame_sequences(run_data: RunData, axis: int) -> list[FrameSequence]:
    """All videos along the axis of frames whose frames are complete."""
    entries, setting_axes = run_data.run.members, run_data.other_axes(axis)
    seed_axes = [] if run_data.seed_axis is None else [run_data.seed_axis]
    sections = [{path.split(".")[0] for path in paths} for paths in run_data.fields]
    film_axes = [a for a in setting_axes if sections[a] <= {"film", "content"}]
    policy_axes = [a for a in setting_axes if a not in film_axes]
    method_axes = [a for a in policy_axes if sections[a] != {"canvas"}]
    sequences = []
    for seeds in run_data.seeds_by_setting(axis, range(len(entries))):
        seeds = [members for members in seeds if _is_complete(run_data, members)]
        if not seeds:
            continue
        for members in seeds:
            members.sort(key=lambda member: entries[member].varies["frame"])
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
                has_one_content=len({entries[m].content for m in first}) == 1,
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
    if any(m not in by_member for by_member in images for m in members):
        return False
    return len({by_member[m].shape for by_member in images for m in members}) == 1


def _member_config(run_data: RunData, member: int, section: str) -> dict[str, Any]:
    """Return a section of the config with the values of a member."""
    varies = run_data.run.members[member].varies
    fields = dict(run_data.run.config[section]) | varies.get(section, {})
    for path, value in varies.items():
        if path.startswith(f"{section}."):
            fields[path.removeprefix(f"{section}.")] = value
    return fields


def _camera_motion(
    run_data: RunData, members: Sequence[int], width: int
) -> np.ndarray | None:
    film = Film(**_member_config(run_data, members[0], "film"))
    numbers = [run_data.run.members[m].varies["frame"] for m in members]
    motion = np.array([film.displacement(number) for number in numbers])
    motion -= motion[0]
    # Frames that share no pixel with the first one cannot be aligned.
    return motion if 0 < np.ptp(motion[:, 1]) < width else None
