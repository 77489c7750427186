"""Give the command line everything that is hostile, and count what becomes of it.

python tests/hostile [--seed 0] [--count N] [--processes 20] [--family values] [--kind text] [--verbose]
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

from everything import everything, some
from outcomes import Outcome, here, in_a_process

_MOST_BYTES = 8 * 2**30


def run() -> int:
    """Run what was asked for; 1 where anything was not answered in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=None, help="how many (all)")
    parser.add_argument("--processes", type=int, default=20, help="how many more in processes of their own")
    parser.add_argument("--family", default=None)
    parser.add_argument("--kind", default=None, help="those whose kind contains this")
    parser.add_argument("--verbose", action="store_true", help="show every answer")
    asked = parser.parse_args()
    # An input that would fill the memory is not to take the machine with it.
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))
    chosen = some(asked.count or len(everything()), asked.seed)
    chosen = [each for each in chosen if asked.family in (None, each.family) and (asked.kind or "") in each.kind]
    tables: dict[str, Counter[str]] = {}
    slowest: dict[str, tuple[float, str]] = {}
    calls = [(each, here, each.family) for each in chosen]
    calls += [(each, in_a_process, "(processes)") for each in some(10_000, asked.seed + 1) if each in chosen][
        : asked.processes
    ]
    for given, call, family in calls:
        with tempfile.TemporaryDirectory() as folder:
            outcome = call(given, Path(folder))
        tables.setdefault(family, Counter())[outcome.verdict] += 1
        slowest[family] = max(slowest.get(family, (0.0, "")), (outcome.seconds, given.kind))
        if asked.verbose or outcome.verdict != "one line":
            _show(given.kind, outcome)
    _print(tables, slowest)
    return int(any(set(table) - {"one line"} for table in tables.values()))


def _show(kind: str, outcome: Outcome) -> None:
    text = (outcome.raised or outcome.stderr).strip()
    lines = text.splitlines()
    shown = lines[-1] if outcome.verdict == "traceback" and lines else " | ".join(lines[:4])
    spoilt = f" {outcome.spoilt}" if outcome.spoilt else ""
    sys.stdout.write(
        f"{outcome.verdict:<14}{kind!r:.150}: exit {outcome.code}, {outcome.seconds:.1f} s{spoilt}: {shown:.300}\n"
    )
    sys.stdout.flush()


def _print(tables: dict[str, Counter[str]], slowest: dict[str, tuple[float, str]]) -> None:
    verdicts = ["one line", "several lines", "traceback", "accepted", "code run", "file spoilt", "no answer"]
    sys.stdout.write(f"\n{'family':<12}{'inputs':>8}" + "".join(f"{each:>15}" for each in verdicts) + "  slowest\n")
    totals: Counter[str] = Counter()
    for family, table in tables.items():
        totals.update(table)
        cells = "".join(f"{table[each]:>15}" for each in verdicts)
        seconds, kind = slowest[family]
        sys.stdout.write(f"{family:<12}{table.total():>8}{cells}  {seconds:.1f} s ({kind:.60})\n")
    sys.stdout.write(f"{'all':<12}{totals.total():>8}" + "".join(f"{totals[each]:>15}" for each in verdicts) + "\n")


if __name__ == "__main__":
    raise SystemExit(run())
