"""The sealing key in the system's keyring, through the optional `keyring` package.

Stronger than a file: the keyring is encrypted under the login password, or
guarded by a hardware key, so a copy of the whole home gives nothing away.
Programs in the unlocked session can still ask the keyring.

Each call is a child process with a deadline: see `keyring_child`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from novakey.devices.sealing.base import KEY_SIZE, SealingBackend
from novakey.errors import StoreError
from novakey.secret import Secret
from novakey.wire import Malformed, jsonline

SERVICE = "novakey"
ACCOUNT = "sealing-key"
_THEIR_ACCOUNT = "devices-key"

_CHILD = "novakey.devices.sealing.keyring_child"
_PACKAGE_FOLDER = Path(__file__).parents[3]

# What finds the session, its bus, its prompts and its settings; nothing else of ours reaches the child.
_ENVIRONMENT = (
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CURRENT_DESKTOP",
    "KDE_FULL_SESSION",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "PYTHON_KEYRING_BACKEND",
    "PYTHONNOUSERSITE",
)

_OTHERWISE = "or, while nothing is paired, choose another device_store: keyfile or passphrase"
_RETRY = f"start again; {_OTHERWISE}"

MESSAGES: Mapping[str, tuple[str, str]] = {
    "not-installed": (
        "the keyring package is not installed",
        f"install it: python -m pip install --require-hashes -r requirements-optional.txt, {_OTHERWISE}",
    ),
    "not-loaded": (
        "the keyring package cannot load the keyring that it is set to use ({detail})",
        f"correct PYTHON_KEYRING_BACKEND or keyringrc.cfg, {_OTHERWISE}",
    ),
    "disabled": (
        "the keyring package is set to use no keyring",
        f"correct PYTHON_KEYRING_BACKEND or keyringrc.cfg, {_OTHERWISE}",
    ),
    "untrusted": (
        "the keyring {detail} is not known to encrypt what it keeps, so it is not used",
        f"uninstall it, or set PYTHON_KEYRING_BACKEND to the system's keyring, {_OTHERWISE}",
    ),
    "no-bus": (
        "there is no session bus, and the keyring is reached through it",
        f"start the daemon inside the desktop session, or as a systemd user service, {_OTHERWISE}",
    ),
    "no-service": (
        "no keyring service is on the session bus",
        f"start one, for instance gnome-keyring, KWallet or KeePassXC, {_OTHERWISE}",
    ),
    "no-collection": (
        "the keyring has no default collection, and none was made",
        f"make one at the desktop (it asks for a password when first used), {_OTHERWISE}",
    ),
    "locked": (
        "the keyring is locked, and there is no way to ask for its password",
        f"log in at the desktop, or unlock it there, and start again; {_OTHERWISE}",
    ),
    "dismissed": ("the prompt to unlock the keyring was dismissed", f"unlock it when asked: {_RETRY}"),
    "stopped": ("the keyring service stopped during the call", _RETRY),
    "deadline": (
        "the keyring did not answer within {timeout} s",
        "look for a prompt, or a hardware key that waits for a touch, and start again;"
        f" raise keyring_timeout_s, {_OTHERWISE}",
    ),
    "garbled": (
        "the keyring's entry {entry} is not a sealing key",
        "restore the keyring from a backup, or start over with: novakey.py reset",
    ),
    "exists": ("the keyring holds {entry} already", "to start over: novakey.py reset"),
    "not-kept": ("the keyring does not give back the key that it was given", _RETRY),
    "not-deleted": (
        "the keyring still holds {entry} after deleting it",
        "delete the entry in the desktop's own program for passwords",
    ),
    "refused": ("the keyring refused the change", f"allow it when asked: {_RETRY}"),
    "no-start": ("the helper process for the keyring cannot be started ({detail})", _RETRY),
    "no-answer": ("the helper process for the keyring ended without an answer ({detail})", _RETRY),
    "failed": ("the keyring failed ({detail})", _RETRY),
}
"""Situation → what was wrong, and the cure."""


class GarbledError(StoreError):
    """The keyring's entry is not a sealing key."""


def installation_id(data_folder: Path) -> str:
    """Return the id of the installation of this folder. It stays while the folder stays."""
    return hashlib.sha256(os.fsencode(data_folder.resolve())).hexdigest()[:16]


def existing_daemon_key(timeout_s: float) -> Secret:
    """Return the key that the daemon before this one keeps in the keyring; it is only read. For `import`."""
    try:
        key = Keyring("", timeout_s, account=_THEIR_ACCOUNT).load()
    except GarbledError as error:
        raise StoreError(error.problem, "restore the keyring from a backup") from None  # a reset keeps it
    if key is None:
        raise StoreError(
            f"the keyring holds no key of the other daemon ({SERVICE}/{_THEIR_ACCOUNT})",
            "import on the machine, and as the user, that the other daemon ran as",
        )
    return key


class Keyring(SealingBackend):
    """32 random bytes as base64 text, under the service `novakey`. Each call takes at most `timeout_s`.

    Installations beside each other do not share an entry: `installation` is
    part of the account's name. It is empty for an account that is not ours.
    """

    name = "keyring"

    def __init__(self, installation: str, timeout_s: float, account: str = ACCOUNT) -> None:
        self._account = f"{account}-{installation}" if installation else account
        self._timeout_s = timeout_s

    def load(self) -> Secret | None:
        """See `SealingBackend.load`. None only when the keyring itself said that there is no such entry."""
        answer = self._ask("load")
        if answer["answer"] == "none":
            return None
        try:
            data = base64.b64decode(jsonline.string(answer, "key"), validate=True)
        except (Malformed, ValueError):
            raise self._garbled() from None
        if len(data) != KEY_SIZE:
            raise self._garbled()
        return Secret(data)

    def store(self, key: Secret) -> None:
        """See `SealingBackend.store`. The child looks for an entry before, and reads it back afterwards."""
        self._ask("store", key=base64.b64encode(key.reveal()).decode())

    def delete(self) -> None:
        """See `SealingBackend.delete`. An entry that is not a key goes as well."""
        self._ask("delete")

    def _ask(self, operation: str, **more: str) -> dict[str, Any]:
        request = {
            "op": operation,
            "service": SERVICE,
            "account": self._account,
            "deadline_s": self._timeout_s,
            **more,
        }
        output, status = self._run(json.dumps(request).encode())
        try:
            answer = jsonline.decode(output)
            situation = jsonline.string(answer, "answer")
            detail = jsonline.string(answer, "detail", "")
        except Malformed:
            raise self._error("no-answer", f"exit code {status}") from None
        if situation in (("key", "none") if operation == "load" else ("done",)):
            return answer
        raise self._error(situation, detail)

    def _run(self, request: bytes) -> tuple[bytes, int]:
        """Return the child's output and exit status; it is gone when this returns or raises."""
        try:
            child = subprocess.Popen(  # noqa: S603  # our interpreter, our module, no word from outside
                # -P and -m: else this folder came first on the path, and our `keyring` hid the package.
                [sys.executable, "-P", "-m", _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # a traceback of foreign code may show what it holds
                cwd="/",
                env=_environment(os.environ),
                start_new_session=True,  # Ctrl-C goes to us, not into the middle of the keyring's writing
            )
        except OSError as error:
            raise self._error("no-start", error.strerror or type(error).__name__) from error
        try:
            output, _ = child.communicate(request, timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            raise self._error("deadline") from None
        except OSError as error:
            raise self._error("no-answer", type(error).__name__) from error
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        return output, child.returncode

    def _garbled(self) -> GarbledError:
        error = self._error("garbled")
        return GarbledError(error.problem, error.cure)

    def _error(self, situation: str, detail: str = "") -> StoreError:
        problem, cure = MESSAGES.get(situation, MESSAGES["failed"])
        entry = f"{SERVICE}/{self._account}"
        return StoreError(problem.format(detail=detail, entry=entry, timeout=f"{self._timeout_s:g}"), cure)


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    env = {name: ours[name] for name in _ENVIRONMENT if name in ours}
    if "DBUS_SESSION_BUS_ADDRESS" not in env and env.get("XDG_RUNTIME_DIR"):
        # systemd's user bus, which a login over SSH or a unit may have without the variable.
        bus = Path(env["XDG_RUNTIME_DIR"]) / "bus"
        if bus.is_socket():
            env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"
    # Relative parts would be looked up in the child's folder, which is not ours.
    folders = [part for part in ours.get("PYTHONPATH", "").split(os.pathsep) if Path(part).is_absolute()]
    env["PYTHONPATH"] = os.pathsep.join([str(_PACKAGE_FOLDER), *folders])
    return env
