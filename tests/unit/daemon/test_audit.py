"""The record of decisions: a message that is sent again without end does not push the rest out."""

from __future__ import annotations

from pathlib import Path

from novakey.config.settings import Settings
from novakey.daemon.audit import EVENTS, FILE, REFUSALS, Audit, note, read
from novakey.log.rotate import OwnerOnlyFile
from novakey.messages.handler import MessageResult
from novakey.system.clock import Clock
from novakey.wire.reply import Outcome


class Record:
    """The record, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.now, self.folder = 100.0, folder
        files = (OwnerOnlyFile(folder / name, 20_000, 1) for name in (FILE, EVENTS))
        self.audit = Audit(*files, Clock(lambda: self.now, lambda: self.now))

    def answer(self, outcome: Outcome, count: int = 1, device: str = "phone-1") -> None:
        for number in range(count):
            self.audit.answered(MessageResult(int(self.now), number, "192.0.2.1", device, "arm", outcome))

    def entries(self) -> list[dict[str, object]]:
        return read(self.folder, 1000)


def test_thirty_thousand_replays_leave_the_paired_line_in_its_place(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.audit.happened("paired", "phone-1")
    record.answer(Outcome.REPLAY, 30_000)
    assert record.entries()[0]["event"] == "paired"
    assert len(record.entries()) == 1 + REFUSALS
    record.answer(Outcome.OK)
    record.answer(Outcome.NOT_ARMED)
    record.answer(Outcome.REPLAY, device="phone-2")
    assert [entry["outcome"] for entry in record.entries()[-3:]] == ["ok", "not_armed", "replay"]


def test_what_is_left_out_is_counted_in_the_next_line_or_at_the_end(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.answer(Outcome.REPLAY, REFUSALS + 5)
    record.now += 61
    record.answer(Outcome.REPLAY)
    assert record.entries()[-1]["more"] == 5
    record.answer(Outcome.REPLAY, REFUSALS + 1)
    record.audit.close()
    entries = record.entries()
    lines = [entry for entry in entries if "more" not in entry]
    more = [entry["more"] for entry in entries if "more" in entry]
    assert len(lines) + sum(1 + int(str(count)) for count in more) == 2 * REFUSALS + 5 + 2


def test_weeks_of_messages_and_requests_do_not_rotate_the_owners_events_away(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.audit.happened("paired", "phone-1", **{"from": "192.0.2.1"})
    for _ in range(400):  # each minute has its few lines of every reason
        record.now += 61
        record.answer(Outcome.REPLAY, REFUSALS + 1)
        record.audit.asked("phone-1", outcome="waiting")
    record.now += 1
    record.audit.happened("revoked", "phone-1")
    events = [entry for entry in record.entries() if "event" in entry and entry["event"] != "ask"]
    assert [entry["event"] for entry in events] == ["paired", "revoked"]
    assert read(tmp_path, 1)[0]["event"] == "revoked"


def test_what_a_command_did_is_noted_and_never_fails_it(tmp_path: Path) -> None:
    note(Settings(), tmp_path / "log", "reset")
    note(Settings(), tmp_path / "log", "imported", **{"from": "/srv/other"})
    entries = read(tmp_path / "log", 10)
    assert [(entry["event"], entry.get("from")) for entry in entries] == [
        ("reset", None),
        ("imported", "/srv/other"),
    ]
    (tmp_path / "file").touch()
    note(Settings(), tmp_path / "file" / "log", "reset")
