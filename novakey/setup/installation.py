"""Everything that setup puts in place, in order, and the way back.

Each step can be repeated: what was interrupted half-way is finished, or taken
away, by running it again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from novakey.config.settings import Settings
from novakey.daemon import audit
from novakey.daemon import reset as resetting
from novakey.devices import other_daemon
from novakey.errors import NovaKeyError
from novakey.log import format, rotate
from novakey.setup import autostart, configuration, record, service
from novakey.setup.answers import Answers
from novakey.setup.record import Record
from novakey.system import files
from novakey.system.folder_lock import FolderLock
from novakey.system.paste import command
from novakey.system.paths import Paths
from novakey.wire.control import SOCKET_NAME

_STOP_S = 20.0

Say = Callable[[str], None]


def install(paths: Paths, answers: Answers, arguments: Sequence[str], say: Say) -> bool:
    """Make folders, configuration, and what starts it with the session; return whether that is the service.

    `arguments` are what the daemon is started with.
    """
    done = record.load(paths) or Record()
    for folder in service.own_folders(paths):
        done.note_folder(folder)
    by_session = answers.service and autostart.needed()
    unit = service.folder() / service.UNIT if answers.service and not by_session else None
    if unit is not None:
        _refuse_foreign(unit)
        done.note_folder(unit.parent)
    for folder in service.own_folders(paths):
        files.private_folder(folder)
    record.save(paths, done)
    _configure(paths, answers, done, say)
    if unit is not None:
        files.make_folders(unit.parent)
        done.unit = str(unit)
        record.save(paths, done)
        files.replace_private(unit, service.text(paths, arguments).encode())
        say(f"service: {unit}")
    if by_session:
        _start_by_session(paths, arguments, done, say)
    return unit is not None


def _start_by_session(paths: Paths, arguments: Sequence[str], done: Record, say: Say) -> None:
    """Write an entry for a session without services, or name the line that its configuration lacks."""
    its_own = autostart.line(arguments)
    if its_own is not None:
        say(f"this session starts what its configuration names; add this line to {its_own[0]}:")
        say(f"  {its_own[1]}")
        return
    entry = autostart.path()
    done.note_folder(entry.parent)
    files.make_folders(entry.parent)
    done.autostart = str(entry)
    record.save(paths, done)
    files.replace_private(entry, autostart.text(arguments).encode())
    say(f"it starts with your next session: {entry}")


def _configure(paths: Paths, answers: Answers, done: Record, say: Say) -> None:
    target = paths.config / configuration.NAME
    content = configuration.text(answers).encode()
    for path in configuration.existing(paths.config):
        kept = configuration.name_aside(path)
        if str(path) != done.config and not done.original:
            done.original = str(kept)
        done.kept.append(str(kept))
        record.save(paths, done)
        configuration.put_aside(path, kept)
        say(f"the configuration that was there is kept: {kept}")
    done.config = str(target)
    record.save(paths, done)
    files.replace_private(target, content)
    say(f"configuration: {target}")


def start_service() -> str | None:
    """Let the session start it, and start it now; None when that was done, else why not."""
    return (
        service.systemctl("daemon-reload")
        or service.systemctl("enable", service.UNIT)
        or service.systemctl("restart", service.UNIT)
    )


def removable(paths: Paths, settings: Settings) -> Record:
    """Return what setup has installed. `NovaKeyError` if nothing, or if another daemon runs."""
    other_daemon.refuse(paths, settings)
    done = record.load(paths)
    if done is None:
        raise NovaKeyError("setup has put nothing here", "to forget phones and keys alone: novakey.py reset")
    holder = FolderLock.holder(paths.data)
    if holder is not None and not (done.unit and service.process_id() == holder):
        raise NovaKeyError(
            f"a daemon runs (process {holder}), so nothing was removed",
            f"stop it first: Ctrl-C where it was started{_or_kill(holder)}",
        )
    return done


def _or_kill(holder: int) -> str:
    return f", or {command('kill', holder)}" if holder else ""


def uninstall(paths: Paths, settings: Settings, say: Say) -> None:
    """Take away service, phones, keys, logs and configuration; put back what was there before."""
    done = removable(paths, settings)
    _stop_service(paths, say)
    if done.unit:
        _remove_service(Path(done.unit), say)
    if done.autostart:
        files.remove(Path(done.autostart))
        say("the session starts it no more")
    resetting.reset(paths, settings)
    say("phones, keys and the state of pairing are gone")
    _remove_logs(settings, paths)
    for folder in dict.fromkeys((paths.data, paths.runtime)):
        for name in (FolderLock.NAME, SOCKET_NAME):
            if folder.is_dir():
                files.remove(folder / name)
    for text in (done.config, *done.kept):
        if text and text != done.original:
            files.remove(Path(text))
    if done.original:
        configuration.put_back(Path(done.original))
        say("the configuration from before is back")
    record.remove(paths)
    for folder in [*map(Path, reversed(done.folders)), paths.runtime]:
        with contextlib.suppress(OSError):  # something of somebody else is in it, or it is gone
            folder.rmdir()
    say("everything that setup made is gone")


def _remove_service(unit: Path, say: Say) -> None:
    why_not = service.systemctl("disable", "--now", service.UNIT)
    if why_not is not None:
        service.unlink(unit)
    files.remove(unit)
    with contextlib.suppress(OSError):
        service.wanted_by(unit).parent.rmdir()
    if why_not is None:
        service.systemctl("daemon-reload")
    say("the service is gone")


def _stop_service(paths: Paths, say: Say) -> None:
    """End the daemon that the service runs, if one does: `reset` refuses while one is there."""
    holder = FolderLock.holder(paths.data)
    if holder is None:
        return
    say(f"stopping the service (process {holder}), and waiting until it has ended")
    why_not = service.systemctl("stop", service.UNIT)
    until = time.monotonic() + _STOP_S
    while (holder := FolderLock.holder(paths.data)) is not None:
        if why_not is not None or time.monotonic() > until:
            problem = f"the service does not stop (process {holder}), so nothing was removed"
            raise NovaKeyError(
                f"{problem}: {why_not}" if why_not else problem, "look at: systemctl --user status novakey"
            )
        time.sleep(0.1)


def _remove_logs(settings: Settings, paths: Paths) -> None:
    folder = rotate.folder(settings, paths.log)
    for name in (settings.log_file or format.DEFAULT_FILE, audit.FILE, audit.EVENTS):
        for path in rotate.rotated_files(folder / name):
            files.remove(path)


def _refuse_foreign(unit: Path) -> None:
    """Refuse to replace a unit that was written by hand."""
    try:
        found = unit.read_text()
    except FileNotFoundError:
        return
    except (OSError, UnicodeError) as error:
        raise NovaKeyError(f"{unit} cannot be read: {type(error).__name__}") from None
    if service.MARK not in found:
        if unit == service.of_other_daemon():
            raise NovaKeyError(
                f"{unit} starts another daemon of this kind",
                "take over from it: novakey.py import, or leave it: give --no-service",
            )
        raise NovaKeyError(
            f"{unit} is there already, and setup did not write it",
            "remove it first, or leave it: give --no-service",
        )
