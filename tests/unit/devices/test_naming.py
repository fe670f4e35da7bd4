"""Ids and names are one space, in which no phone can pass for another."""

from __future__ import annotations

from pathlib import Path

import pytest

from novakey.devices.naming import skeleton
from novakey.devices.store import Device, DeviceStore
from novakey.secret import Secret


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("anna", "Anna"),
        ("anna", "\u0430nna"),  # Cyrillic a
        ("ANNA", "\u0391\u039d\u039d\u0391"),  # Greek capitals
        ("BEATE", "\u0412\u0415\u0410\u0422\u0415"),  # Cyrillic capitals
        ("anna", "\uff41\uff4e\uff4e\uff41"),  # full width
        ("bill", "BI11"),
        ("tel 0", "tel O"),
        ("Anna's phone", "anna\u2019s\u00a0phone"),
        ("a-b", "a\u2013b"),
        ("straße", "STRASSE"),
        ("anna", "an\ufe0fna"),
        ("Jose\u0301", "jos\u00e9"),
    ],
)
def test_what_a_person_could_take_for_each_other_has_one_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)


def test_what_a_person_can_tell_apart_has_two() -> None:
    names = [
        "anna",
        "anne",
        "ios-1A2B3C4D",
        "ios-1A2B3C4E",
        "phone 2",
        "phone 3",
        "jos\u00e9",
        "jose",
        "\u65e5",
    ]
    assert len({skeleton(name) for name in names}) == len(names)


def devices(*pairs: tuple[str, str]) -> DeviceStore:
    known = {device_id: Device(device_id, Secret(bytes(32)), name=name) for device_id, name in pairs}
    return DeviceStore(Path("/nonexistent"), Secret(bytes(32)), known, None)


def ids(found: list[Device]) -> list[str]:
    return [device.id for device in found]


def test_an_id_that_is_another_phones_name_means_both_and_its_whole_id_means_one() -> None:
    store = devices(("ios-1", "anna"), ("Anna", ""), ("berta", ""))
    assert ids(store.called("anna")) == ["ios-1", "Anna"]
    assert ids(store.called("id:Anna")) == ["Anna"]
    assert ids(store.called("BERTA")) == ["berta"]
    assert store.called("") == store.called("id:no-one") == []


def test_a_clash_is_with_another_device_only() -> None:
    store = devices(("ios-1", "anna"))
    assert store.clash("ANNA", "ios-1") is None
    other = store.clash("\u0430nna", "ios-2")
    assert other is not None and other.id == "ios-1"
