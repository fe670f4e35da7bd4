"""Every parser of what others may have written, each with what must hold for any bytes.

A target takes bytes and says whether they were accepted. It raises only when an
invariant is broken: an exception other than the parser's own refusal, or an
accepted input that does not come out of the encoder as it went in (the very
bytes, where there is one encoding; else an equal object).
"""

from __future__ import annotations

import io
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from novakey.config import load
from novakey.devices import sealed_file as sealed
from novakey.devices import store
from novakey.errors import ConfigError, StoreError
from novakey.messages import ledger
from novakey.pairing import record
from novakey.pull import password_agent
from novakey.pull.person import UserPrompt
from novakey.pull.pinentry import MAX_LINE, Pinentry
from novakey.secret import Secret
from novakey.wire import Malformed, NotAuthenticated, ProtocolError, control, crypto, jsonline, message, pair
from novakey.wire import preface as prefaces
from novakey.wire import reply as replies
from novakey.wire import uri as uris

_KEY, _NONCE, _BOOT = Secret(bytes(range(32))), bytes(24), b"b" * 16
_SERVER = crypto.ExpandedKey.generate()
_TOKEN = Secret(bytes(range(16)))
_MEMORY = Path("/dev/shm")
_FOLDER = Path(tempfile.mkdtemp(dir=_MEMORY if _MEMORY.is_dir() else None))


def preface(data: bytes) -> bool:
    """Return the first line."""
    route = prefaces.parse(data)
    assert route is None or route.value == data
    return route is not None


def hello(data: bytes) -> bool:
    """Return the phone's first line of a pairing; members that we do not know are ignored."""
    try:
        token = pair.decode_hello(data)
    except Malformed:
        return False
    assert pair.decode_hello(pair.encode_hello(token)) == token
    return True


def server_line(data: bytes) -> bool:
    """Return the phone's side of the second line."""
    try:
        line = pair.decode_server_line(data)
    except Malformed:
        return False
    assert pair.decode_server_line(line.encode()) == line
    return True


def registration(data: bytes) -> bool:
    """Return the plaintext of a register."""
    try:
        found = pair.decode_registration(data)
    except Malformed:
        return False
    assert pair.decode_registration(found.encode()) == found
    return True


def register(data: bytes) -> bool:
    """Feed a register as the network cuts it: the first bytes choose the cuts, and whether it is genuine."""
    if len(data) < 3:
        return False
    genuine, cuts, rest = data[0] & 1, data[1:3], data[3:1600]
    reader = pair.RegisterReader(_SERVER, _TOKEN)
    if genuine:
        ciphertext, shared = crypto.encapsulate(_SERVER.public)
        key = crypto.pairing_key(shared, _TOKEN.reveal())
        body = crypto.seal(key, _NONCE, rest, pair.associated(ciphertext, _NONCE))
        rest = b"\x04\x40" + ciphertext + _NONCE + body
    found = None
    try:
        while rest and found is None:
            size = 1 + len(rest) * cuts[0] // 256 if len(rest) > 1200 else 1 + cuts[1]
            found, rest = reader.feed(rest[:size]), rest[size:]
    except Malformed:
        return False
    assert found is None or pair.decode_registration(found.encode()) == found
    return found is not None


def payload(data: bytes) -> bool:
    """Return a message before it is opened: one encoding, the very bytes."""
    try:
        envelope = message.split(data)
    except Malformed:
        return False
    assert envelope.encode() == data
    try:
        message.unseal(envelope, bytes(32), _KEY.reveal())
        raise AssertionError("it cannot authenticate")
    except NotAuthenticated:
        return True


def plaintext(data: bytes) -> bool:
    """Return a message that was opened: one encoding, the very bytes."""
    try:
        opened = message.parse_plaintext(data)
    except Malformed:
        return False
    assert opened.encode() == data
    return True


def length(data: bytes) -> bool:
    """Return the length in front of a message."""
    try:
        count = message.frame_length(data[:2].ljust(2, b"\0"), 4096)
    except Malformed:
        return False
    assert message.frame(bytes(count))[:2] == data[:2].ljust(2, b"\0")
    return True


def reply(data: bytes) -> bool:
    """Return the phone's side of the one line that answers a message."""
    try:
        found = replies.decode(data)
    except Malformed:
        return False
    assert replies.decode(found.encode()) == found
    return True


def uri(data: bytes) -> bool:
    """Return what a QR may hold."""
    try:
        found = uris.decode(data.decode("utf-8", "replace"))
    except Malformed:
        return False
    assert uris.decode(found.encode()) == found
    return True


def json_line(data: bytes) -> bool:
    """One JSON object; the one reader of JSON that everything else stands on."""
    try:
        members = jsonline.decode(data)
    except Malformed:
        return False
    assert jsonline.decode(jsonline.encode(members)) == members
    return True


def control_request(data: bytes) -> bool:
    """Return the owner's request."""
    try:
        request = control.decode_request(data)
    except Malformed:
        return False
    assert control.decode_request(request.encode()) == request
    return True


def control_line(data: bytes) -> bool:
    """Return the daemon's answer to the owner."""
    try:
        line = control.decode_line(data)
    except Malformed:
        return False
    assert control.decode_line(line.encode()) == line
    return True


def sealed_file(data: bytes) -> bool:
    """Return a sealed file as it lies on disk."""
    try:
        sealed.open_bytes(data, Path("f"), _KEY, sealed.DEVICES_LABEL)
    except StoreError:
        return False
    return True


def device_store(data: bytes) -> bool:
    """Return what is inside of a sealed store."""
    try:
        members = jsonline.decode(data)
        devices = store.parse_devices(members)
    except ProtocolError:
        return False
    assert all(1 <= len(device_id.encode()) <= message.MAX_DEVICE_ID for device_id in devices)
    return True


def replay_ledger(data: bytes) -> bool:
    """Check the ledger: damage is seen, and what is whole tells a past that can be written again."""
    try:
        past = ledger.parse(data, _BOOT)
    except ledger.DamagedError:
        return False
    assert all(timestamp > past.floor for _, timestamp in past.entries)
    return True


def pairing_record(data: bytes) -> bool:
    """Return the pairing state on disk."""
    path = _file("pairing.json", data)
    try:
        found = record.load(path)
    except StoreError:
        return False
    record.save(path, found)
    assert record.load(path) == found
    return True


def config_yaml(data: bytes) -> bool:
    """Return a configuration in YAML."""
    return _configuration(_file("novakey.yaml", data))


def config_json(data: bytes) -> bool:
    """Return a configuration in JSON."""
    return _configuration(_file("novakey.json", data))


def _configuration(path: Path) -> bool:
    try:
        settings = load.load(path, {}, _FOLDER)
    except ConfigError:
        return False
    for name, value, _ in load.effective(settings):
        assert value is not None, name
    return True


def _file(name: str, data: bytes) -> Path:
    path = _FOLDER / name
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    return path


def password_question(data: bytes) -> bool:
    """Return what a service writes for systemd's password agents."""
    file = _FOLDER / "ask.fuzz"
    file.write_bytes(data)
    question = password_agent.read(file)
    assert question is None or (question.message.isprintable() and question.socket.startswith("/"))
    return question is not None


def pinentry_commands(data: bytes) -> bool:
    """Return what gpg-agent says to a pinentry; every line of ours keeps to the limit."""
    asked: list[str] = []

    def ask(prompt: str, seconds: float | None) -> Secret:
        asked.append(prompt)
        return Secret(b"correct horse")

    output = io.BytesIO()
    Pinentry(ask, _NoOwner()).serve(io.BytesIO(data), output)
    assert all(len(line) <= MAX_LINE for line in output.getvalue().splitlines(keepends=True))
    return bool(asked)


class _NoOwner(UserPrompt):
    """A person who says no, and sees nothing."""

    def agrees(self, question: str) -> bool:
        return False

    def tell(self, text: str) -> None:
        return


TARGETS: dict[str, Callable[[bytes], bool]] = {
    target.__name__: target
    for target in (
        *(preface, hello, server_line, registration, register, payload, plaintext, length, reply, uri),
        *(json_line, control_request, control_line, sealed_file, device_store, replay_ledger),
        *(pairing_record, config_yaml, config_json, password_question, pinentry_commands),
    )
}


def seeds() -> dict[str, list[bytes]]:
    """Return inputs that each parser accepts, to begin from."""
    key_hex = _KEY.reveal().hex()
    public = _SERVER.public
    device = f'{{"id":"p","key_hex":"{key_hex}","paired_unix":1,"paired_from":"::1","name":"n"}}'
    registered = pair.Registration("phone-1", _KEY)
    envelope = message.Envelope(b"phone-1", bytes(1088), _NONCE, bytes(40))
    opened = message.Message(1_800_000_000, message.MessageType.INJECT, b"phone-1", Secret(b"text"))
    answer = replies.Reply(replies.Outcome.OK, "arm", "armed_for_ms=1", 1_800_000_000, 7)
    target = uris.PairingUri("192.0.2.1", 60768, _TOKEN, "0f" * 16, 1_800_000_000)
    return {
        "password_question": [b"[Ask]\nPID=1\nSocket=/run/s\nNotAfter=5\nMessage=disk\n"],
        "pinentry_commands": [
            b"OPTION ttyname=/dev/null\nSETDESC a%0Ab\nSETTIMEOUT 5\nGETPIN\nCONFIRM\nBYE\n"
        ],
        "preface": [route.value for route in prefaces.Route],
        "hello": [pair.encode_hello(_TOKEN), pair.encode_hello(_TOKEN)[:-2] + b',"fp":"00"}\n'],
        "server_line": [pair.ServerKey(public, 1).encode(), pair.Refusal("busy", "m").encode()],
        "registration": [registered.encode(), pair.Registration(None, None).encode()],
        "register": [b"\1\x80\x40" + registered.encode(), b"\0\x80\x40\x04\x40" + secrets.token_bytes(1200)],
        "payload": [envelope.encode()],
        "plaintext": [opened.encode()],
        "length": [b"\0\1", b"\x10\0", b"\x10\1"],
        "reply": [answer.encode()],
        "uri": [target.encode().encode(), uris.PairingUri("::1", 1, _TOKEN, "0f" * 16, 1).encode().encode()],
        "json_line": [b'{"a":[1,-2.5e3,true,null,"\\u00e4\\ud83d\\ude00"],"b":{"c":""}}'],
        "control_request": [
            control.Request("rename", {"device": "p", "name": "n"}).encode(),
            control.Request("arm", {"ms": 5}).encode(),
            control.Request("log", {"lines": 3, "follow": True}).encode(),
        ],
        "control_line": [
            control.Event("line", {"text": "t"}).encode(),
            control.Done({"a": 1}).encode(),
            control.Refused("p", "c").encode(),
        ],
        "sealed_file": [_sealed_seed()],
        "device_store": [f'{{"devices":[{device}],"server_fp16_hex":""}}'.encode()],
        "replay_ledger": [_ledger_seed()],
        "pairing_record": [_record_seed()],
        "config_yaml": [
            load.example().encode()[:3000],
            b'listen_addr: "[::1]:1"\nlog_keep: 3\n',
            b"a: [b, c]\n",
        ],
        "config_json": [b'{"listen_addr":"1","allowed_process_names":["a","b"],"log_redact":false}'],
    }


def _sealed_seed() -> bytes:
    path = _FOLDER / "sealed"
    sealed.write(path, _KEY, sealed.DEVICES_LABEL, {"devices": []})
    return path.read_bytes()


def _record_seed() -> bytes:
    path = _FOLDER / "record"
    record.save(path, record.Record())
    return path.read_bytes()


def _ledger_seed() -> bytes:
    path = _FOLDER / "ledger"
    guard, _ = ledger.open_guard(path, 1000, 0, _BOOT)
    for number in range(3):
        guard.accept(number.to_bytes(12, "big"), 1000 + number, 1000)
    guard.close()
    # A ledger of four slots: small enough to be mutated into something interesting.
    data = path.read_bytes()
    return ledger._header(1, 4, _BOOT) + data[64 : 64 + 4 * 32]
