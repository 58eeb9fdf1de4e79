"""Agreement of the score of `nst_jax.metrics.quality` with rankings by eye.

    python -m benchmarks.agreement

Three judges ranked the pictures of `docs/images/methods` before any figure was known.
They saw each pair's pictures, its content and its style at full size, in another random
order each, and without names. `benchmarks/rankings.json` holds their rankings. The
table has Kendall's tau of each ranking with the score, and of the judges with each
other. Ten minutes on two CPU cores.
"""

import itertools
import json
import pathlib
import statistics
from collections.abc import Sequence

from scipy import stats

from benchmarks import script
from benchmarks.rank import measure_folder
from benchmarks.table import Table

_RANKINGS = pathlib.Path("benchmarks/rankings.json")
_PICTURES = pathlib.Path("docs/images/methods")
#: Longer side of the pictures.
_SIZE = 512


def main() -> None:
    pairs = json.loads(_RANKINGS.read_text())
    rows: list[tuple[str | float, ...]] = []
    for pair, record in pairs.items():
        folder = _PICTURES / pair.replace(", ", "_")
        measured = measure_folder(record["content"], record["style"], folder, _SIZE)
        rankings = record["rankings"]
        by_score = sorted(rankings[0], key=lambda name: measured[name]["score"])
        taus = [kendall_tau(by_score, ranking) for ranking in rankings]
        between = [kendall_tau(a, b) for a, b in itertools.combinations(rankings, 2)]
        rows.append(
            (
                *(pair, *taus, statistics.mean(taus), statistics.mean(between)),
                *(", ".join(by_score), ", ".join(by_mean_rank(rankings))),
            )
        )
    judges = (f"judge {number}" for number in range(1, len(taus) + 1))
    Table(
        "agreement",
        "Kendall's tau of the score with rankings by eye",
        ("pair", *judges, "mean", "between judges", "by score", "by eye"),
        rows,
        [f"Mean over the pairs: {statistics.mean(float(row[4]) for row in rows):.2f}."],
    ).publish()


def kendall_tau(a: Sequence[str], b: Sequence[str]) -> float:
    """Return Kendall's tau, −1 to 1, of two orders of the same names without ties."""
    return float(stats.kendalltau([b.index(name) for name in a], range(len(a)))[0])


def by_mean_rank(rankings: Sequence[Sequence[str]]) -> list[str]:
    """Return the names in the order of their mean rank."""
    return sorted(rankings[0], key=lambda name: sum(r.index(name) for r in rankings))


if __name__ == "__main__":
    script.run(main)
