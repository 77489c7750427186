"""Inputs a second that a run's trained networks predict, read from their files.

    python benchmarks/predict.py runs/mine new.csv
    python benchmarks/predict.py runs/photos photos

One thread; processor seconds, reading, networks of all seeds and their mean included, writing not.
"""

from __future__ import annotations

import argparse
import time

import torch

from automl_plugins import load_result


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("path")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = load_result(arguments.run)
    start = time.process_time()
    inputs = found.unlabelled(arguments.path)
    count = sum(len(places) for places, _ in inputs.predictions(found.predict))
    seconds = time.process_time() - start
    print(f"{count:,} inputs in {seconds:.1f} CPU seconds: {count / seconds:,.0f} a second")


if __name__ == "__main__":
    main()
