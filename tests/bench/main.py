"""Runs the parts and prints the table; `bench.json` holds the same figures. Exits 1 over a limit."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from attack import attack  # noqa: E402
from figures import Figure  # noqa: E402
from messages import growth, messages  # noqa: E402
from start import idle, memory, start  # noqa: E402
from typing_sway import sway  # noqa: E402
from typing_x11 import typing  # noqa: E402

PARTS: dict[str, Callable[[bool], Iterator[Figure]]] = {
    "messages": messages,
    "growth": growth,
    "start": start,
    "memory": memory,
    "idle": idle,
    "attack": attack,
    "typing": typing,
    "sway": sway,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--full", action="store_true", help="up to 10^6 messages in growth and memory")
    words = parser.parse_args()
    figures = []
    for name in words.parts or PARTS:
        for figure in PARTS[name](words.full):
            print(figure.row(), flush=True)
            figures.append(figure)
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
    }
    document = {**machine, "figures": [figure.members() for figure in figures]}
    (HERE / "bench.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0 if all(figure.within for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
