"""The paired devices, in the sealed `devices.json`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gevent.lock import RLock

from novakey.devices import sealed_file, server_keys
from novakey.devices.naming import skeleton
from novakey.errors import StoreError
from novakey.secret import Secret
from novakey.system import files
from novakey.wire import Malformed, crypto, jsonline, message

BY_ID = "id:"  # before an id: exactly this one, where more than one device could be meant
RESTORE = "restore it from a backup, or give up every pairing with: novakey.py reset"


class Device(NamedTuple):
    """A paired phone. `paired_unix` is 0 where it is not known (an imported store).

    `name` is what its owner calls it; the id is the phone's own and never changes.
    """

    id: str
    key: Secret
    paired_unix: int = 0
    paired_from: str = ""
    name: str = ""
    paired_to: str = ""
    """The host in the QR that it scanned, which the phone goes on to use."""


class DeviceStore:
    """The devices in memory, equal to the file between changes; `key` seals it, and what lies beside it.

    A change waits for the disk, and messages are answered in between: a new device
    is known once it is stored, and a removed one is unknown from the beginning.

    `server_fingerprint` is that of the key the devices were paired with: other
    server keys beside this store mean that no phone could be understood.
    """

    def __init__(
        self, path: Path, key: Secret, devices: Mapping[str, Device], server_fingerprint: str | None
    ) -> None:
        self._path = path
        self.key = key
        self._devices = dict(devices)
        self.server_fingerprint = server_fingerprint
        self._changing = RLock()  # each change begins with what the one before it left

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[Device]:
        return iter(self._devices.values())

    def get(self, device_id: str) -> Device | None:
        """Return the device with this id, if it is paired."""
        return self._devices.get(device_id)

    def called(self, wanted: str) -> list[Device]:
        """Return the devices that a person could mean by `wanted`: an id, a name, or `id:` and an id."""
        exact = self.get(wanted.removeprefix(BY_ID)) if wanted.startswith(BY_ID) else None
        if exact is not None:
            return [exact]
        same = skeleton(wanted)
        return [device for device in self if same and same in _skeletons(device)]

    def clash(self, text: str, device_id: str) -> Device | None:
        """Return another device than `device_id` that a person could mean by `text`."""
        return next((device for device in self.called(text) if device.id != device_id), None)

    def add(self, device: Device, server_fingerprint: str) -> None:
        """Store the device durably (or its new key), or raise `StoreError` and change nothing."""
        with self._changing:
            self.replace_all({**self._devices, device.id: device}, server_fingerprint)

    def rename(self, device: Device, name: str) -> None:
        """Give the device another name, durably, or raise `StoreError` and change nothing."""
        with self._changing:
            known = self._devices.get(device.id)
            if known is None:
                raise StoreError("the device was revoked in the meantime")
            named = {**self._devices, device.id: known._replace(name=name)}
            self.replace_all(named, self.server_fingerprint)

    def remove(self, device: Device) -> None:
        """Forget the device, durably, or raise `StoreError` and change nothing."""
        with self._changing:
            before = self._devices
            self._devices = {known.id: known for known in self if known.id != device.id}
            try:
                self.replace_all(self._devices, self.server_fingerprint)
            except StoreError:
                self._devices = before
                raise

    def remove_all(self) -> None:
        """Forget every device, durably."""
        self.replace_all({}, None)

    def replace_all(self, devices: Mapping[str, Device], server_fingerprint: str | None) -> None:
        """Store exactly these devices durably, or raise `StoreError` and change nothing."""
        with self._changing:
            self._write(devices, server_fingerprint)
            self._devices = dict(devices)
            self.server_fingerprint = server_fingerprint

    def _write(self, devices: Mapping[str, Device], server_fingerprint: str | None) -> None:
        document = {"devices": rows(devices.values()), "server_fp16_hex": server_fingerprint or ""}
        sealed_file.write(self._path, self.key, sealed_file.DEVICES_LABEL, document)


def _skeletons(device: Device) -> set[str]:
    return {skeleton(text) for text in (device.id, device.name) if text}


def read(path: Path) -> bytes | None:
    """Return the sealed bytes; None for no file or a zero-byte one, which hold no device."""
    return files.read_private(path) or None


def unseal(data: bytes | None, path: Path, key: Secret) -> DeviceStore:
    """Return the store in sealed bytes. What parses but is not our store is unusable, not empty."""
    if data is None:
        return DeviceStore(path, key, {}, None)
    document = sealed_file.open_bytes(data, path, key, sealed_file.DEVICES_LABEL)
    try:
        devices = parse_devices(document)
        fingerprint = jsonline.string(document, "server_fp16_hex", "")
    except Malformed as error:
        raise StoreError(f"{path} opens but is not a device store: {error}", RESTORE) from None
    return DeviceStore(path, key, devices, fingerprint or None)


def key_is_gone(path: Path) -> StoreError:
    """Return what to say when a store is there, but no key to open it."""
    return StoreError(f"the sealing key is gone, but {path} needs it", RESTORE)


def matching_keys(devices: DeviceStore, path: Path, key: Secret) -> server_keys.StoredKey:
    """Return the server keys that the devices were paired with; `StoreError` when they are not at `path`."""
    server = server_keys.load(path, key)
    if server is None:
        raise StoreError(f"the server keys {path} are gone, but devices are paired with them", RESTORE)
    if devices.server_fingerprint not in (None, crypto.fingerprint(server.public)):
        raise StoreError(f"the server keys {path} are not those that the devices were paired with", RESTORE)
    return server


def rows(devices: Iterable[Device]) -> list[dict[str, object]]:
    """Return the devices as `parse_devices` reads them; the rows hold the keys."""
    return [
        {
            "id": device.id,
            "key_hex": device.key.reveal().hex(),
            "paired_unix": device.paired_unix,
            "paired_from": device.paired_from,
            "name": device.name,
            "paired_to": device.paired_to,
        }
        for device in devices
    ]


def parse_devices(document: Mapping[str, Any]) -> dict[str, Device]:
    """Return the devices of a store's document by id; `Malformed` for anything that is not one."""
    rows = document.get("devices")
    if not isinstance(rows, list):
        raise Malformed("it has no list of devices")
    devices: dict[str, Device] = {}
    for row in rows:
        if not isinstance(row, dict):
            raise Malformed("a device is not an object")
        device = _parse_device(row)
        if device.id in devices:
            raise Malformed("a device id stands twice")
        devices[device.id] = device
    return devices


def _parse_device(row: Mapping[str, Any]) -> Device:
    device_id = jsonline.string(row, "id")
    if not 1 <= len(device_id.encode()) <= message.MAX_DEVICE_ID:
        raise Malformed("a device id does not have 1 to 255 bytes")
    try:
        key = bytes.fromhex(jsonline.string(row, "key_hex"))
    except ValueError:
        raise Malformed("a device key is not hex") from None
    if len(key) != crypto.KEY_SIZE:
        raise Malformed("a device key does not have 32 bytes")
    paired_unix = jsonline.integer({"paired_unix": 0, **row}, "paired_unix")
    texts = [jsonline.string(row, member, "") for member in ("paired_from", "name", "paired_to")]
    return Device(device_id, Secret(key), paired_unix, *texts)
