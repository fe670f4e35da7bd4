"""The log: one safe line a record, nothing secret in it, owner-only files, never in the way."""

import base64
import io
import logging
import os
import random
import secrets
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from novakey.config.settings import Settings
from novakey.errors import ConfigError
from novakey.log import format, rotate
from novakey.log.format import LineFormatter, escape, redact
from novakey.secret import Secret

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _restored_root() -> Iterator[None]:
    root = logging.getLogger()
    before, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    yield
    for handler in [handler for handler in root.handlers if handler not in before]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.raiseExceptions = raising
    logging.captureWarnings(False)


def configured(folder: Path, **changes: object) -> tuple[logging.Logger, io.StringIO]:
    terminal = io.StringIO()
    format.configure(Settings(**changes), folder, stderr=terminal)  # type: ignore[arg-type]
    return logging.getLogger("novakey.test"), terminal


def formatted(text: str, style: str = "file") -> str:
    record = logging.LogRecord("novakey.test", logging.INFO, "", 0, text, None, None)
    return LineFormatter(style, redacting=True).format(record)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@given(st.text())
def test_one_record_is_one_printable_line(text: str) -> None:
    assert formatted(text).isprintable()


def test_nothing_that_a_peer_sends_forges_a_line_or_moves_a_cursor(tmp_path: Path) -> None:
    logger, terminal = configured(tmp_path)
    logger.info("device %s", "a\n2026-01-01 info paired\r\x1b[2J\x9b\u2028\u202e\u200b\ud800\x00")
    for text in (terminal.getvalue(), (tmp_path / "novakey.log").read_text()):
        assert text.count("\n") == 1 and text.endswith("\n") and text[:-1].isprintable()
        assert r"a\n2026-01-01 info paired\r\x1b[2J\x9b\u2028\u202e\u200b\ud800\x00" in text


def test_a_traceback_is_one_line_too(tmp_path: Path) -> None:
    logger, terminal = configured(tmp_path)
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logger.exception("it broke")
    assert terminal.getvalue().count("\n") == 1
    assert r"it broke\nTraceback" in terminal.getvalue() and r"first\nsecond" in terminal.getvalue()


def test_a_line_has_a_longest_length() -> None:
    assert len(formatted("a b " * 100_000)) < 9000


def test_escape_quotes_escapes_and_shortens() -> None:
    assert escape("plain ünï") == '"plain ünï"'
    assert escape('a"b\\c\n\u202e') == r'"a\"b\\c\n\u202e"'
    assert escape("x" * 65) == '"' + "x" * 64 + '"...'
    assert escape("abcdef", limit=3) == '"abc"...'


@given(st.text(), st.integers(1, 80))
def test_escape_is_printable_and_bounded(text: str, limit: int) -> None:
    assert escape(text, limit).isprintable()
    assert len(escape(text, limit)) <= 10 * limit + 5


@pytest.mark.parametrize("size", [16, 24, 32, 64, 1184])
def test_keys_and_tokens_are_blanked_in_every_spelling(size: int) -> None:
    # The same keys each time: of a million, a handful look like words.
    keys = random.Random(size)
    for _ in range(300 if size < 100 else 3):
        raw = keys.randbytes(size)
        spellings = [raw.hex(), raw.hex().upper(), base64.b64encode(raw).decode(), repr(raw)]
        spellings.append(base64.urlsafe_b64encode(raw).decode().rstrip("="))
        for text in spellings:
            for line in (f"got {text} from", f"x={text}", f'{{"a":"{text}"}}', text, f"/{text}"):
                shown = redact(line)
                assert text not in shown
                # nor a piece of it large enough to help anybody
                assert not any(text[at : at + 12] in shown for at in range(0, len(text) - 12, 4))


@pytest.mark.parametrize(
    "line",
    [
        '{"token":"hunter2"}',
        '{"op":"hello", "token" : "hunter2 and more"}',
        r"{\"token\":\"hunter2 and more\"}",
        "{'password': 'hunter2'}",
        "device_key_hex=hunter2",
        '{"device_key_hex": "hunter2',
        "password: hunter2",
        "Secret = hunter2",
        'key="hunter2"',
        "{'key': 'hunter2'}",
        "psk=b'hunter2'",
        'secret="a \\" hunter2"',
        "novakey://pair?v=3&host=h&port=1&token=hunter2&fp=hunter2",
        "NOVAKEY://hunter2",
        'for "Password: " (request 1), password: "hunter2"',
        '"Password: " token="hunter2 and more"',
    ],
)
def test_members_with_telling_names_and_pairing_uris_are_blanked(line: str) -> None:
    assert "hunter2" not in redact(line) and format.REDACTED in redact(line)


@pytest.mark.parametrize(
    "line",
    [
        "listening on 0.0.0.0:60768",
        "novakey: started",
        "unknown key: arm_duraton_ms",
        "inject_unavailable_wayland",
        "NOVAKEY_ALLOW_CLIPBOARD_ON_INJECT_FAILURE is set",
        "cannot read /home/somebody/.local/share/novakey/server_keys.json",
        "paired ios-0123456789abcdef from [2001:db8:1:2:3:4:5:6]:50000",
        "paired E621E1F8-C36C-495A-93FC-0C247A3E6E5F",
        "server_keys_file and devices_file in the data folder",
        "cannot read /tmp/pytest-of-root/pytest-5/test_it0/NovaKey/conf/Application/data.yaml",
        "request 17: status=0x09 reason=clipboard_fallback",
        "XDG_CURRENT_DESKTOP_OF_THE_SESSION=sway",
    ],
)
def test_what_people_need_to_read_stays(line: str) -> None:
    assert redact(line) == line


WORDS = st.sampled_from(["tmp", "home", "anna", "novakey-pair", "Application", "data_2", "usr", "LOGS"])
# What mktemp(1) and Python's tempfile make up.
MADE_UP = st.from_regex(r"(tmp\.[A-Za-z0-9]{10}|tmp[a-z0-9_]{8})", fullmatch=True)
ENDS = st.sampled_from(["", ".png", ".sock", ": permission denied", ", which is a link", ")", " (mode 0755)"])


@given(st.lists(WORDS, max_size=4), MADE_UP, st.lists(WORDS, max_size=4), ENDS)
def test_a_path_with_a_made_up_name_in_it_stays(
    before: list[str], made_up: str, after: list[str], end: str
) -> None:
    line = f"cannot write /{'/'.join([*before, made_up, *after])}{end}"
    assert redact(line) == line


@given(st.lists(WORDS, max_size=3), st.binary(min_size=16, max_size=48), st.lists(WORDS, max_size=3), ENDS)
def test_a_token_within_a_path_goes_and_the_words_around_it_stay(
    before: list[str], raw: bytes, after: list[str], end: str
) -> None:
    mixed = bytes(a ^ b for a, b in zip(raw, MASK, strict=False))  # all zeroes would look like a word
    text = base64.urlsafe_b64encode(mixed).decode().rstrip("=")
    shown = redact(f"see /{'/'.join([*before, text, *after])}{end}")
    assert shown == f"see /{'/'.join([*before, format.REDACTED, *after])}{end}"


MASK = base64.b64decode("nT4xq0ZkW9vJ2Qm7c+Rf5hLQ8dYb1aXo3gVtSiEpUuNwHzKyCrOjMlPBIFAGDe6T")


@given(st.sampled_from(["Password: ", "[sudo] password: ", "git secret:", "Token: ", "PSK:"]), ENDS)
def test_the_quotes_of_a_prompt_and_what_follows_them_stay(prompt: str, end: str) -> None:
    for quoted in (escape(prompt), f"'{prompt}'"):
        line = f"ssh (process 5) waits for a phone: {quoted} (request 3), {quoted}{end}"
        assert redact(line) == line


def test_redaction_takes_time_in_proportion_to_the_text() -> None:
    for piece in ("a_", "token", '"token":"', "b'", "aB-", "ab/", "\\", 'key="', "="):
        redact(piece * 50_000)  # a quadratic pattern would run for minutes


def test_redaction_reaches_exceptions_and_can_be_switched_off(tmp_path: Path) -> None:
    token = secrets.token_urlsafe(16)
    logger, terminal = configured(tmp_path)
    try:
        raise ValueError(f"bad token {token}")
    except ValueError:
        logger.exception("no")
    assert token not in terminal.getvalue()
    logger, terminal = configured(tmp_path, log_redact=False)
    logger.info("see %s", "Zz9" * 10)
    assert "Zz9" * 10 in terminal.getvalue()


def test_a_secret_shows_nothing_in_any_format(tmp_path: Path) -> None:
    logger, terminal = configured(tmp_path, log_redact=False)
    secret = Secret(b"hunter2")
    logger.info("%s %r %s %s", secret, secret, [secret], f"{secret!s:>20}")
    logger.info("%d", secret)
    assert "hunter2" not in terminal.getvalue() and "<secret>" in terminal.getvalue()


def test_files_and_folders_are_owner_only_also_after_rotation(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "state" / "log"
    request.addfinalizer(partial(os.umask, os.umask(0)))  # as little help from the umask as possible
    logger, _ = configured(folder, log_rotate_mb=1, log_keep=2, log_stderr=False)
    for number in range(25_000):
        logger.info(
            "line %d of a log that grows until it is put aside, then once more, and once more", number
        )
        if number == 100:
            (folder / "novakey.log").chmod(0o644)
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["novakey.log", "novakey.log.1", "novakey.log.2"]
    assert {mode(folder), mode(folder.parent)} == {0o700}
    assert mode(folder / "novakey.log") == 0o600
    assert all((folder / name).stat().st_size <= 1_000_000 for name in files)


def test_a_file_with_wider_rights_is_narrowed_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "novakey.log").touch(0o666)
    (tmp_path / "novakey.log").chmod(0o666)
    configured(tmp_path)
    assert mode(tmp_path / "novakey.log") == 0o600


def test_log_dir_and_log_file_are_taken(tmp_path: Path) -> None:
    logger, _ = configured(tmp_path / "unused", log_dir=str(tmp_path / "logs"), log_file="my.log")
    logger.info("here")
    assert "here" in (tmp_path / "logs/my.log").read_text()
    assert not (tmp_path / "unused").exists()


def test_configuring_again_replaces_and_does_not_repeat(tmp_path: Path) -> None:
    configured(tmp_path)
    logger, terminal = configured(tmp_path)
    logger.info("once")
    assert terminal.getvalue().count("once") == 1
    assert (tmp_path / "novakey.log").read_text().count("once") == 1


def test_log_stderr_off_leaves_the_terminal_alone(tmp_path: Path) -> None:
    logger, terminal = configured(tmp_path, log_stderr=False)
    logger.warning("quiet")
    assert terminal.getvalue() == ""


def test_a_folder_that_cannot_be_written_is_named_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/novakey.log cannot be written: .*\nset log_dir"):
        configured(tmp_path / "file")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(ConfigError, match="others can write"):
        configured(shared)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_a_planted_log_file_is_refused_and_never_a_hang(tmp_path: Path, kind: str) -> None:
    planted = tmp_path / "novakey.log"
    if kind == "link":
        (tmp_path / "victim").write_text("precious")
        planted.symlink_to("victim")
    elif kind == "fifo":
        os.mkfifo(planted)
    else:
        planted.mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        configured(tmp_path)


def test_a_full_disk_and_a_closed_terminal_stop_nothing(tmp_path: Path) -> None:
    logger, terminal = configured(tmp_path)
    terminal.close()
    with open("/dev/full", "w") as full:
        outlet = format.outlet()
        assert outlet is not None
        handler = next(h for h in outlet.handlers if isinstance(h, rotate.OwnerOnlyFile))
        handler._file, before = full.fileno(), handler._file
        for _ in range(10_000):
            logger.info("there is no room for this line")
        handler._file = before
        logger.info("room again")
    assert "room again" in (tmp_path / "novakey.log").read_text()


def test_a_folder_that_is_gone_at_rotation_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    logger, terminal = configured(folder, log_rotate_mb=1)
    (folder / "novakey.log.1").mkdir()
    (folder / "novakey.log.1" / "in the way").touch()
    for number in range(12_000):
        logger.info("line %d of a log that cannot be put aside because a folder is in its way", number)
    assert "line 11999 " in (folder / "novakey.log").read_text()
    assert "line 11999 " in terminal.getvalue()


SERVICE = """
import logging, os, sys
from pathlib import Path
from novakey.config.settings import Settings
from novakey.log import format as log
there = os.fstat(2)
os.environ["JOURNAL_STREAM"] = sys.argv[2] if len(sys.argv) > 2 else f"{there.st_dev}:{there.st_ino}"
log.configure(Settings(), Path(sys.argv[1]), stderr=sys.stderr)
logging.getLogger("novakey").warning("one")
logging.getLogger("novakey").info("two")
"""


def test_a_service_speaks_the_journals_way(tmp_path: Path) -> None:
    def run(*more: str) -> list[str]:
        command = [sys.executable, "-c", SERVICE, str(tmp_path), *more]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stderr.splitlines()

    assert run() == ["<4>one", "<6>two"]
    # The variable is inherited by what is not the journal's: then it is a terminal like any other.
    first, second = run("1:2")
    assert first.endswith(" warning one") and second.endswith(" info    two") and first[2] == ":"


def test_the_marks_of_a_sentence_around_a_pairing_uri_stay() -> None:
    uri = f"novakey://pair?v=3&host=h&port=1&token={secrets.token_urlsafe(16)}&fp=00"
    assert redact(f"(see {uri}), {uri}.") == "(see novakey://[redacted]), novakey://[redacted]."
