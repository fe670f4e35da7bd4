"""The existing daemon's configuration keeps its meaning, and says what it cannot keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from novakey.config import load
from novakey.config.adopt import Adopted, adopt
from novakey.errors import ConfigError


def adopted(folder: Path, text: str, name: str = "server_config.yaml") -> Adopted:
    (folder / name).write_text(text)
    return adopt(folder / name)


def test_what_is_written_is_a_configuration_of_ours_with_the_same_values(tmp_path: Path) -> None:
    text = "listen_addr: 127.0.0.1:4\nallow_newlines: true\ndenied_window_titles: ['Chat: é']\n"
    (tmp_path / "novakey.yaml").write_text(adopted(tmp_path, text).text())
    ours = load.load(None, {}, tmp_path)
    assert (ours.listen_addr, ours.allow_newlines) == ("127.0.0.1:4", True)
    assert (ours.denied_window_titles, ours.target_match) == (("Chat: é",), "any")


def test_paths_and_endings_of_programs_are_taken_as_their_names_with_a_warning(tmp_path: Path) -> None:
    text = r'{"allowed_process_names": ["/usr/bin/firefox", "C:\\Apps\\Chrome.EXE", "brave"]}'
    found = adopted(tmp_path, text, "server_config.json")
    assert found.values["allowed_process_names"] == ["firefox", "Chrome", "brave"]
    assert len(found.warnings) == 2 and "/usr/bin/firefox" in found.warnings[0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("arm_api_enabled: true", "no such key"),
        ("max_inject_len: x", "allowed a whole number"),
        ("devices_file: phones.json", "names of ours"),
        ("log_dir: ./logs", "in our folder"),
        ("use_built_in_allowlist: true", "here it would add"),
        ("rotate_device_psk_on_repair: false", "may refuse"),
    ],
)
def test_a_key_that_cannot_be_carried_over_is_listed_with_the_reason(
    tmp_path: Path, line: str, reason: str
) -> None:
    found = adopted(tmp_path, f"{line}\nallowed_process_names: [firefox]\n")
    name = line.partition(":")[0]
    [said] = found.left_out
    assert f": {name}: " in said and reason in said
    assert name not in found.values and found.values["allowed_process_names"] == ["firefox"]


@pytest.mark.parametrize(
    "line", ["denied_process_names: [1]", "allowed_window_titles: x", "allow: [", "a: 1\na: 2"]
)
def test_a_rule_that_would_get_lost_and_a_broken_file_stop_the_import(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=r"server_config\.yaml"):
        adopted(tmp_path, f"allow_newlines: true\n{line}\n")


def test_a_policy_without_lists_keeps_the_other_daemons_narrower_list(
    tmp_path: Path,
) -> None:
    found = adopted(tmp_path, "target_policy_enabled: true\nuse_built_in_allowlist: true\n")
    assert "xterm" not in found.values["allowed_process_names"]
    assert "firefox" in found.values["allowed_process_names"]
    assert not found.settings.use_built_in_allowlist


def test_bounds_that_it_does_not_have_do_not_stop_it(tmp_path: Path) -> None:
    found = adopted(tmp_path, "arm_duration_ms: 600000\nmax_inject_len: 60000\nlog_file:\n")
    assert found.settings.arm_max_ms == 600000
    assert found.settings.max_inject_len < found.settings.max_payload_len
    assert len(found.warnings) == 2 and found.left_out == []
