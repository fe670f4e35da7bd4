"""Coverage-guided fuzzing of every parser, by atheris: see tests/fuzz/run.

Each target runs in a process of its own, begins with its seeds and the kept
corpus, and stops at the first broken invariant. What reached new code is kept
for the next run. The last line of each is what it did.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

CORPUS = HERE / "corpus"
# Of a whole campaign; those that cost milliseconds get fewer.
SHARES = {"register": 0.05, "config_yaml": 0.05, "config_json": 0.05, "pairing_record": 0.2}
MOST_KB = {"payload": 4, "register": 2, "replay_ledger": 1}
MOST_KEPT, MOST_BYTES = 25, 512
GROWTH_MB = 512  # libFuzzer stops a target that holds more


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/fuzz/run", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs over all targets (1000000)")
    parser.add_argument("--keep", action="store_true", help="merge what was found into the kept corpus")
    parser.add_argument("--target", action="append", help="only this one; may be repeated")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/novakey-fuzz"), help="where finds go")
    words = parser.parse_args()
    if words.one:
        return fuzz(words.one, words.folder, words.runs)
    from fuzz.targets import TARGETS

    names = words.target or list(TARGETS)
    shares = {name: SHARES.get(name, 1.0) for name in names}
    failed = total = 0
    for name in names:
        runs = max(1, round(words.runs * shares[name] / sum(shares.values())))
        began = time.monotonic()
        code, said = child(name, words.folder, runs)
        done = max([0, *map(int, re.findall(r"(?m)^#(\d+)", said))])
        total += done
        covered = (re.findall(r"cov: (\d+)", said) or ["?"])[-1]
        memory = (re.findall(r"rss: (\d+)Mb", said) or ["?"])[-1]
        took = f"{time.monotonic() - began:.0f} s"
        print(f"{name:16} {done} inputs, {covered} edges, {memory} MB, {took}, exit {code}", flush=True)
        if code:
            failed += 1
            print(said[-3000:], file=sys.stderr)
        elif words.keep:
            keep(name, words.folder)
    print(f"{total} inputs over {len(names)} targets, {failed} broken")
    return 1 if failed else 0


def child(name: str, folder: Path, runs: int) -> tuple[int, str]:
    argv = [sys.executable, __file__, "--one", name, "--runs", str(runs), "--folder", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    return done.returncode, done.stdout + done.stderr


def fuzz(name: str, folder: Path, runs: int) -> int:
    """In the child: never returns while libFuzzer runs."""
    import atheris

    with atheris.instrument_imports(include=["novakey"]):
        from fuzz.targets import TARGETS, seeds
    found = folder / name
    found.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds()[name]):
        (found / f"seed-{number}").write_bytes(data)
    kept = CORPUS / name
    kept.mkdir(parents=True, exist_ok=True)
    target = TARGETS[name]
    options = [
        f"-runs={runs}",
        f"-max_len={MOST_KB.get(name, 4) * 1024}",
        f"-rss_limit_mb={GROWTH_MB}",
        f"-artifact_prefix={folder}/{name}-",
        "-timeout=10",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(found), str(kept)], lambda data: target(bytes(data)) and None)
    atheris.Fuzz()
    return 0


def keep(name: str, folder: Path) -> None:
    """Move the smallest finds into the kept corpus: they are read in every run of the suite."""
    found = sorted((folder / name).iterdir(), key=lambda path: path.stat().st_size)
    for path in [path for path in found if not path.name.startswith("seed-")][:MOST_KEPT]:
        if path.stat().st_size <= MOST_BYTES:
            (CORPUS / name).mkdir(parents=True, exist_ok=True)
            (CORPUS / name / path.name[:16]).write_bytes(path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
