"""The configuration: defaults, sources and their order, and every fault at once."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from novakey.config import load, validate
from novakey.config import settings as configkeys
from novakey.config.reader import MAX_BYTES
from novakey.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


def loaded(
    folder: Path, text: str | bytes = "", name: str = "novakey.yaml", **env: str
) -> configkeys.Settings:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return load.load(None, env, folder)


def faults(folder: Path, text: str | bytes = "", name: str = "novakey.yaml", **env: str) -> list[str]:
    """Return the faults' lines without the folder's name."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, name, **env)
    assert caught.value.exit_code == 2
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    return [line.replace(f"{folder}/", "") for line in caught.value.problem.splitlines()[1:]]


def one_fault(folder: Path, text: str | bytes = "", name: str = "novakey.yaml", **env: str) -> str:
    found = faults(folder, text, name, **env)
    assert len(found) == 1, found
    return found[0]


# The names and defaults that users of existing configurations know.
KNOWN = {
    "listen_addr": "0.0.0.0:60768",
    "max_payload_len": 4096,
    "max_requests_per_min": 60,
    "devices_file": "devices.json",
    "server_keys_file": "server_keys.json",
    "require_sealed_device_store": True,
    "rotate_kyber_keys": False,
    "rotate_device_psk_on_repair": True,
    "pair_hello_max_per_min": 30,
    "log_dir": "",
    "log_file": "",
    "log_rotate_mb": 10,
    "log_keep": 10,
    "log_stderr": True,
    "log_redact": True,
    "arm_duration_ms": 20000,
    "arm_consume_on_inject": True,
    "allow_clipboard_when_disarmed": False,
    "allow_clipboard_on_inject_failure": False,
    "allow_typing_fallback": True,
    "macos_prefer_clipboard": True,
    "allow_newlines": False,
    "max_inject_len": 256,
    "two_man_enabled": True,
    "approve_window_ms": 15000,
    "approve_consume_on_inject": True,
    "target_policy_enabled": False,
    "use_built_in_allowlist": False,
    "allowed_process_names": (),
    "allowed_window_titles": (),
    "denied_process_names": (),
    "denied_window_titles": (),
    "advertise_host": "",
    "allow_tabs": False,
    "arm_max_ms": 120000,
    "desktop_backend": "auto",
    "pair_window_s": 600,
    "pair_max_attempts": 3,
    "pair_max_windows": 5,
    "device_store": "keyfile",
    "keyring_timeout_s": 20,
    "unauthenticated_max_per_min": 120,
}


def test_every_known_key_has_its_known_default(tmp_path: Path) -> None:
    loaded = load.load(None, {}, tmp_path)
    assert {name: getattr(loaded, name) for name in KNOWN} == KNOWN
    assert loaded.read_from is None


def test_every_default_is_itself_allowed(tmp_path: Path) -> None:
    assert load.load(ROOT / "conf/novakey.yaml", {}, tmp_path) == configkeys.Settings()


def test_the_example_is_made_from_the_keys_and_names_each_once() -> None:
    text = (ROOT / "conf/novakey.yaml").read_text()
    assert text == load.example(), "write it again: python3 -c 'from novakey.config import load; ...'"
    for name in configkeys.keys():  # noqa: SIM118
        assert text.count(f"\n{name}: ") == 1
    assert max(map(len, text.splitlines())) <= 110


def test_every_key_says_what_it_means_and_when_to_change_it() -> None:
    for name, key in configkeys.keys().items():
        for sentence in (key.means, key.when):
            assert sentence[0].isupper() and sentence.endswith("."), name
        assert key.allowed
        assert key.kind != "number" or (key.unit and key.low <= key.high)
    assert set(configkeys.SECTIONS) <= set(configkeys.keys())


def test_yaml_and_json_give_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("log_keep: 3\nlog_redact: off\nallowed_process_names: [a, 'b c']\n")
    (tmp_path / "b.json").write_text(
        '{\t"log_keep": 3,\n"log_redact": false,\n"allowed_process_names": ["a", "b c"]}'
    )
    first, second = (load.load(tmp_path / name, {}, tmp_path) for name in ("a.yaml", "b.json"))
    assert (
        first
        == second
        == configkeys.Settings(log_keep=3, log_redact=False, allowed_process_names=("a", "b c"))
    )


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "\ufeff", "{}"])
def test_an_empty_file_means_the_defaults(tmp_path: Path, text: str) -> None:
    assert loaded(tmp_path, text) == configkeys.Settings()
    (tmp_path / "novakey.yaml").unlink()
    if text in ("", "{}"):
        assert loaded(tmp_path, text, "novakey.json") == configkeys.Settings()


def test_the_option_wins_over_the_variable_and_that_over_the_folder(tmp_path: Path) -> None:
    for number, name in enumerate(("novakey.yaml", "variable.yaml", "option.yaml"), 1):
        (tmp_path / name).write_text(f"log_keep: {number}\n")
    variable = {"NOVAKEY_CONFIG": str(tmp_path / "variable.yaml")}
    assert load.load(None, {}, tmp_path).log_keep == 1
    assert load.load(None, {"NOVAKEY_CONFIG": ""}, tmp_path).log_keep == 1
    assert load.load(None, variable, tmp_path).log_keep == 2
    assert load.load(tmp_path / "option.yaml", variable, tmp_path).log_keep == 3


def test_a_variable_wins_over_the_file_and_effective_says_so(tmp_path: Path) -> None:
    found = loaded(tmp_path, "\nlog_keep: 3\nlog_rotate_mb: 4\n", NOVAKEY_LOG_KEEP="7")
    origins = {name: (value, origin) for name, value, origin in load.effective(found)}
    assert origins["log_keep"] == (7, "NOVAKEY_LOG_KEEP")
    assert origins["log_rotate_mb"] == (4, f"{tmp_path}/novakey.yaml:3")
    assert origins["log_dir"] == ("", "default")
    assert list(origins) == list(configkeys.keys())


@pytest.mark.parametrize("word", ["true", "1", "yes", "on", "TRUE", "On", " yes "])
def test_a_variable_says_true_in_each_usual_way(tmp_path: Path, word: str) -> None:
    assert load.load(None, {"NOVAKEY_ALLOW_TABS": word}, tmp_path).allow_tabs is True


@pytest.mark.parametrize("word", ["false", "0", "no", "off", "FALSE"])
def test_a_variable_says_false_in_each_usual_way(tmp_path: Path, word: str) -> None:
    assert load.load(None, {"NOVAKEY_LOG_REDACT": word}, tmp_path).log_redact is False


def test_lists_in_variables_are_separated_by_commas(tmp_path: Path) -> None:
    loaded = load.load(None, {"NOVAKEY_DENIED_PROCESS_NAMES": "a, b c,,d "}, tmp_path)
    assert loaded.denied_process_names == ("a", "b c", "d")
    assert load.load(None, {"NOVAKEY_DENIED_PROCESS_NAMES": ""}, tmp_path).denied_process_names == ()


def test_every_key_can_be_set_by_its_variable(tmp_path: Path) -> None:
    for name, key in configkeys.keys().items():
        value = key.default
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        loaded = load.load(None, {f"NOVAKEY_{name.upper()}": text}, tmp_path)
        assert getattr(loaded, name) == value, key


def test_five_different_faults_are_reported_together_each_with_its_line(tmp_path: Path) -> None:
    text = (
        "arm_duraton_ms: 5000\n"  # unknown
        "log_keep: many\n"  # wrong type
        "# a comment\n"
        "log_rotate_mb: 0\n"  # out of range
        "desktop_backend: wayand\n"  # not a choice
        "log_rotate_mb: 3\n"  # again
        "arm_duration_ms: 120001\n"  # contradicts arm_max_ms
    )
    assert faults(tmp_path, text) == [
        "novakey.yaml:1: arm_duraton_ms: found an unknown key, nearest known: arm_duration_ms",
        'novakey.yaml:2: log_keep: found the text "many", allowed a whole number from 1 to 1000 (files)',
        "novakey.yaml:4: log_rotate_mb: found 0, allowed a whole number from 1 to 1024 (megabytes)",
        'novakey.yaml:5: desktop_backend: found "wayand", '
        "allowed one of auto, x11, wayland, wlroots, gnome, portal, windows, macos, none",
        "novakey.yaml:6: log_rotate_mb: found again, allowed once (first on line 4)",
        "novakey.yaml:7: arm_duration_ms: found 120001, allowed at most 120000 (arm_max_ms)",
    ]


def test_the_same_faults_in_json_have_their_lines_too(tmp_path: Path) -> None:
    text = (
        '{"arm_duraton_ms": 1,\n "log_keep": "3",\n "log_keep": 4,\n "log_redact": null,\n'
        ' "x": {"y": [1]},\n "log_rotate_mb": 1.0}'
    )
    found = faults(tmp_path, text, "novakey.json")
    assert [line.split(": ")[0] for line in found] == [f"novakey.json:{n}" for n in range(1, 7)]


def test_faults_of_the_file_and_of_variables_come_together(tmp_path: Path) -> None:
    env = {"NOVAKEY_LOG_REDACT": "maybe", "NOVAKEY_ARM_DURATOIN_MS": "1", "NOVAKEY_ARM_MAX_MS": "1.5"}
    found = faults(tmp_path, "log_keep: 0\n", **env)
    assert found[0].startswith("novakey.yaml:1: log_keep: found 0")
    assert 'NOVAKEY_LOG_REDACT: found the text "maybe", allowed true or false' in found
    assert (
        "NOVAKEY_ARM_DURATOIN_MS: found an unknown variable, nearest known: NOVAKEY_ARM_DURATION_MS" in found
    )
    assert any(line.startswith('NOVAKEY_ARM_MAX_MS: found the text "1.5"') for line in found)
    assert len(found) == 4


def test_variables_that_are_no_keys_are_known(tmp_path: Path) -> None:
    names = ("NOVAKEY_NO_BOOTSTRAP", "NOVAKEY_DATA_DIR", "NOVAKEY_PASSPHRASE_FILE")
    assert load.load(None, dict.fromkeys(names, "1"), tmp_path) == configkeys.Settings()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("log_stderr: 1", "found 1"),
        ("log_stderr: 'on'", 'found the text "on"'),
        ("log_keep: true", "found true"),
        ("log_keep: yes", "found yes, which YAML reads as true"),
        ("log_keep: 2.0", "found the number 2.0"),
        ("log_keep: 010", "found the number 010"),
        ("log_keep: 0x10", "found the number 0x10"),
        ("log_keep: 1_0", "found the number 1_0"),
        ("log_keep: 1:30", "found the number 1:30"),
        ("log_keep: -1", "found -1"),
        ("log_keep: " + "9" * 5000, "found the number 9999"),
        ("log_keep: '3'", 'found the text "3"'),
        ("log_keep: !!int '3'", "found a value with the tag"),
        ("log_keep:", "found nothing"),
        ("log_keep: [3]", "found a list"),
        ("log_keep: {a: 3}", "found a mapping"),
        ("log_dir: no", "found no, which YAML reads as false unless in quotes"),
        ("log_dir: 2024-01-01", "found the date 2024-01-01"),
        ("log_dir: ~", "found nothing"),
        ('log_dir: "a\\nb"', "found 'a\\nb'"),
        ('log_dir: "a\\u202eb"', "found 'a\\u202eb'"),
        ("allowed_process_names: firefox", 'found the text "firefox"'),
        ("allowed_process_names: [no]", "found no, which YAML reads as false unless in quotes"),
        ("allowed_process_names: [1]", "found 1"),
        ("allowed_process_names: ['']", 'found the text ""'),
        ("allowed_process_names: [[a]]", "found a list"),
        ("devices_file: ''", 'found ""'),
        ("advertise_host: a b", 'found "a b"'),
        ("advertise_host: 10.0.0.1:99", 'found "10.0.0.1:99"'),
        ("device_store: plain", 'found "plain"'),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(tmp_path: Path, line: str, found: str) -> None:
    key = line.partition(":")[0]
    assert one_fault(tmp_path, f"# first\n{line}\n").startswith(f"novakey.yaml:2: {key}: {found}")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- a\n", "novakey.yaml:1: found something else at the top"),
        ("hello\n", "novakey.yaml:1: found something else at the top"),
        ("log_keep: 3\n---\nlog_keep: 4\n", "novakey.yaml:2: found a second document"),
        ("x: &a [1]\ny: [*a, *a]\n", "novakey.yaml:1: found an alias or an anchor"),
        ("? [a]\n: 3\n", "novakey.yaml:1: found a list or a mapping as a key"),
        ("\nlog_keep:\n\t- 3\n", "novakey.yaml:3: not YAML: found a tab"),
        ("listen_addr: [::]:60768\n", "novakey.yaml:1: not YAML"),
        (b"\n\xff\xfe", "novakey.yaml:2: found the byte 0xff, allowed UTF-8 text"),
        ("log_dir: a\n\x07", "novakey.yaml:2: found the character U+0007"),
        ("#" * (MAX_BYTES + 1), f"novakey.yaml: found more than {MAX_BYTES} bytes"),
        ("a: " + "[" * 100_000, "novakey.yaml:1: found lists or mappings nested too deeply"),
    ],
)
def test_a_file_that_is_no_flat_mapping_is_refused(tmp_path: Path, text: str | bytes, fault: str) -> None:
    assert one_fault(tmp_path, text).startswith(fault)


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "3", '{"log_keep": 3', '{"log_keep": 3,}', "{'log_keep': 3}", '{"log_keep": 3} x', "{,}"),
        *('{"log_keep" 3}', '{"a":' + "[" * 200_000, '{"a": "\n"}', '{"log_keep": 3 "log_dir": ""}'),
    ],
)
def test_what_is_not_json_is_refused(tmp_path: Path, text: str) -> None:
    assert any("JSON" in fault or "nested" in fault for fault in faults(tmp_path, text, "novakey.json"))


def test_keys_that_contradict_each_other_are_a_fault_at_the_one_that_was_set(tmp_path: Path) -> None:
    assert one_fault(tmp_path, "arm_max_ms: 1000\n").startswith(
        "novakey.yaml:1: arm_max_ms: found arm_duration_ms 20000, allowed at most 1000"
    )
    assert one_fault(tmp_path, "max_inject_len: 4000\n").startswith(
        "novakey.yaml:1: max_inject_len: found 4000, allowed at most 2819 (max_payload_len"
    )
    assert "found one file for devices and server keys" in one_fault(
        tmp_path, "devices_file: server_keys.json\n"
    )
    assert one_fault(tmp_path, "", NOVAKEY_ARM_DURATION_MS="130000").startswith("NOVAKEY_ARM_DURATION_MS: ")


def test_the_built_in_list_comes_on_when_the_policy_has_no_list(tmp_path: Path) -> None:
    assert loaded(
        tmp_path, "target_policy_enabled: true\nuse_built_in_allowlist: false\n"
    ).use_built_in_allowlist
    assert not loaded(
        tmp_path, "target_policy_enabled: true\ndenied_process_names: [a]\n"
    ).use_built_in_allowlist
    assert not loaded(tmp_path, "").use_built_in_allowlist


def test_a_named_file_that_is_not_there_is_an_error_with_a_cure(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    with pytest.raises(ConfigError, match=r"does not exist\ncorrect --config"):
        load.load(missing, {}, tmp_path)
    with pytest.raises(ConfigError, match=r"does not exist\ncorrect NOVAKEY_CONFIG"):
        load.load(None, {"NOVAKEY_CONFIG": str(missing)}, tmp_path)


def test_two_files_in_the_folder_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "novakey.json").write_text("{}")
    with pytest.raises(ConfigError, match="more than one"):
        loaded(tmp_path, "")


def test_what_is_no_readable_file_is_an_error_and_never_a_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name in (".", "fifo", "loop"):
        with pytest.raises(ConfigError):
            load.load(tmp_path / name, {}, tmp_path)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_are_settings_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-bytes"
    folder.mkdir(exist_ok=True)
    for name in ("a.yaml", "a.json"):
        (folder / name).write_bytes(data)
        try:
            load.load(folder / name, {}, folder)
        except ConfigError as error:
            assert all(line.isprintable() for line in str(error).splitlines())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:60768", ("0.0.0.0", 60768)),
        ("60768", ("0.0.0.0", 60768)),
        (":60768", ("0.0.0.0", 60768)),
        ("[::]:60768", ("::", 60768)),
        ("[::1]:0", ("::1", 0)),
        ("[fe80::1%lo]:1", ("fe80::1%lo", 1)),
        ("localhost:65535", ("localhost", 65535)),
        ("my-host.example:1", ("my-host.example", 1)),
    ],
)
def test_an_address_to_listen_on(tmp_path: Path, text: str, address: tuple[str, int]) -> None:
    assert validate.parse_listen_addr(text) == address
    assert loaded(tmp_path, f'listen_addr: "{text}"\n').listen_addr == text


def test_a_port_alone_needs_no_quotes(tmp_path: Path) -> None:
    assert loaded(tmp_path, "listen_addr: 60768\n").listen_addr == "60768"


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "a", "a:", "::1", "::", "[::1]", "[::1]60768", "[1.2.3.4]:1", "1.2.3:1", "999.1.1.1:1"),
        *("a:65536", "a:-1", "a:+1", "a: 1", "a:1 ", "a b:1", "a:\u0663", "-a:1", "a..b:1", "http://a:1"),
        *("[]:1", "a:1:2", "a\n:1"),
    ],
)
def test_what_is_no_address_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"not an address to listen on\nwrite host:port"):
        validate.parse_listen_addr(text)
