"""A hundred thousand inputs over every parser: none is taken wrongly, none raises anything else.

The coverage-guided form, with any number: tests/fuzz/run --help
"""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path

import pytest
from fuzz.targets import TARGETS, seeds

CORPUS = Path(__file__).parent / "corpus"
INPUTS = 100_000
SLOW = (
    "register",
    "config_yaml",
    "pairing_record",
)  # a tenth of the others' share: they cost ten times as much
MOST_GROWTH_KB = 30_000


def known(name: str) -> list[bytes]:
    """Return the seeds and what the long runs found worth keeping."""
    kept = [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
    return seeds()[name] + kept


def mutated(data: bytes, others: list[bytes], random_: random.Random) -> bytes:
    """One to four changes: a byte, a bit, a cut, a repetition, a splice, an interesting piece."""
    changed = bytearray(data)
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(changed) + 1)
        match random_.randrange(7):
            case 0 if at < len(changed):
                changed[at] = random_.randrange(256)
            case 1 if at < len(changed):
                changed[at] ^= 1 << random_.randrange(8)
            case 2:
                del changed[at : at + random_.randint(1, 8)]
            case 3:
                changed[at:at] = changed[at : at + random_.randint(1, 30)]
            case 4:
                changed[at:] = random_.choice(others)[at:]
            case 5:
                changed[at:at] = random_.choice(PIECES)
            case _:
                changed[at:at] = random_.randbytes(random_.randint(1, 4))
    return bytes(changed[:8192])


PIECES = (
    *(b"\0", b"\xff", b"\n", b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"null", b"true", b"-1", b"0"),
    *(b"1e999", b"9" * 30, b"NaN", b"\\ud800", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xe2\x80\xae"),
    *(b"\x7f\xff\xff\xff", b"\x80\0\0\0\0\0\0\0", b"%00", b"%C3%A4", b"&", b"=", b"#", b"'", b"\t"),
    *(b"<<: *a", b"&a", b"!!python/none"),
)


@pytest.mark.parametrize("name", TARGETS)
def test_every_known_input_keeps_its_invariant(name: str) -> None:
    accepted = [TARGETS[name](data) for data in known(name)]
    assert any(accepted), "no seed is accepted: the fuzzer would only see refusals"


def test_a_hundred_thousand_inputs() -> None:
    random_ = random.Random(time.time_ns())
    weight = {name: 1 if name in SLOW else 20 for name in TARGETS}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = accepted = 0
    for name, target in TARGETS.items():
        inputs = known(name)
        for _ in range(INPUTS * weight[name] // sum(weight.values()) + 1):
            data = mutated(random_.choice(inputs), inputs, random_)
            try:
                accepted += target(data)
            except BaseException as error:
                raise AssertionError(f"{name} broke on {data!r}") from error
            done += 1
    assert done >= INPUTS
    assert accepted > done // 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH_KB
