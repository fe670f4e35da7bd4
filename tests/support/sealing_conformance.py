"""What every sealing backend must do; each backend's tests inherit it."""

from __future__ import annotations

import base64
import secrets
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from novakey.devices.sealing.base import KEY_SIZE, SealingBackend
from novakey.devices.sealing.keyfile import KeyFile
from novakey.errors import StoreError
from novakey.secret import Secret


class Place(ABC):
    """One place for a key, empty at first, and what happens to it behind the backend's back."""

    @abstractmethod
    def backend(self) -> SealingBackend:
        """Return a new backend over this place, as after a restart."""

    @abstractmethod
    def content(self) -> bytes | None:
        """Return what is kept there, as it is kept."""

    @abstractmethod
    def spoil(self, content: bytes) -> None:
        """Put something else there."""


def new_key() -> Secret:
    return Secret(secrets.token_bytes(KEY_SIZE))


class FilePlace(Place):
    """A file of a backend's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def backend(self) -> KeyFile:
        return KeyFile(self.path)

    def content(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    def spoil(self, content: bytes) -> None:
        self.path.write_bytes(content)


class Conformance:
    """Inherit, and give a fixture `place`."""

    SPOILED = (b"", b"null", b"{}", b"[]", b"A" * 43, b"A" * 45)
    """Contents that are no key of this backend's."""

    def test_an_empty_place_has_no_key(self, place: Place) -> None:
        assert place.backend().load() is None

    def test_a_key_is_given_back_as_it_was_also_after_a_restart(self, place: Place) -> None:
        key, backend = new_key(), place.backend()
        backend.store(key)
        assert backend.load() == key
        assert place.backend().load() == key

    def test_a_key_that_is_there_is_never_replaced(self, place: Place) -> None:
        key = new_key()
        place.backend().store(key)
        with pytest.raises(StoreError, match="already"):
            place.backend().store(new_key())
        assert place.backend().load() == key

    def test_the_probe_makes_a_key_once(self, place: Place) -> None:
        key = place.backend().load_or_create()
        assert len(key) == KEY_SIZE
        assert place.backend().load_or_create() == key

    def test_a_deleted_key_is_gone_and_another_may_come(self, place: Place) -> None:
        first = place.backend().load_or_create()
        place.backend().delete()
        assert place.backend().load() is None
        assert place.content() is None
        assert place.backend().load_or_create() != first

    def test_deleting_nothing_is_fine(self, place: Place) -> None:
        place.backend().delete()
        assert place.backend().load() is None

    def test_an_unreadable_key_is_an_error_and_never_replaced(self, place: Place) -> None:
        key = place.backend().load_or_create()
        good = place.content()
        assert good is not None
        for bad in (*self.SPOILED, good[:-4]):
            place.spoil(bad)
            for call in (place.backend().load, place.backend().load_or_create):
                with pytest.raises(StoreError) as caught:
                    call()
                assert caught.value.cure is not None
            with pytest.raises(StoreError):
                place.backend().store(new_key())
            assert place.content() == bad
        place.spoil(good)
        assert place.backend().load() == key

    def test_a_reset_removes_an_unreadable_key_too(self, place: Place) -> None:
        place.backend().load_or_create()
        place.spoil(b"null")
        place.backend().delete()
        assert place.backend().load() is None

    def test_no_message_shows_the_key(self, place: Place) -> None:
        key, backend = new_key(), place.backend()
        backend.store(key)
        with pytest.raises(StoreError) as caught:
            backend.store(key)
        shown = f"{caught.value} {caught.value!r} {backend!r}"
        for form in (key.reveal().hex(), base64.b64encode(key.reveal()).decode(), repr(key.reveal())):
            assert (form in shown) is False, "a message shows the key"
