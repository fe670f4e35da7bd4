"""Which host the QR carries, and what the owner is told when phones go on to use an old one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon import ROOT, Daemon, random_key, run
from support.pairing import begin, register

from novakey.system.interfaces import interfaces
from novakey.wire import pair, uri

GONE = "192.0.2.9"


def paired_under(folder: Path, host: str) -> None:
    """Return a phone that scanned a QR with this host."""
    with Daemon(folder, advertise_host=host) as daemon:
        shown = uri.decode(daemon.uri())
        assert shown.host == host
        registration = pair.Registration("phone-1", random_key())
        assert register(*begin(daemon, shown.token), shown.token, registration)


def out_of_reach(folder: Path) -> tuple[list[str], str]:
    shown = run("--data-dir", folder, "status")
    found: list[str] = json.loads(run("--data-dir", folder, "status", "--json").stdout)["out_of_reach"]
    return found, shown.stdout


def test_status_warns_of_phones_that_use_an_address_that_is_no_longer_ours(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    paired_under(folder, GONE)
    with Daemon(folder):
        found, shown = out_of_reach(folder)
        assert found == [GONE]
        assert f"phones were paired under {GONE}, which is no address of this computer now" in shown
    with Daemon(folder, advertise_host=GONE):  # a forwarded port, say: the owner has set it
        assert out_of_reach(folder)[0] == []


def test_status_is_content_with_an_address_of_ours_and_with_a_name(tmp_path: Path) -> None:
    ours = str(next(iter(interfaces() or [])).ip)
    for number, host in enumerate((ours, "desk.local")):
        folder = tmp_path / str(number)
        paired_under(folder, host)
        with Daemon(folder):
            assert out_of_reach(folder)[0] == []


def test_with_mdns_and_no_responder_the_qr_has_the_address_and_doctor_says_why(
    tmp_path: Path,
) -> None:
    env = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/nonexistent"}
    with Daemon(tmp_path / "d", env=env, advertise_host="mdns") as daemon:
        assert uri.decode(daemon.uri()).host == "127.0.0.1"
        daemon.wait_for_log("no mDNS responder answers for this computer")
        done = run("--data-dir", daemon.folder, "doctor", env=env)
        assert "advertise_host is mdns, but no mDNS responder answers" in done.stdout


def test_auto_is_what_an_empty_value_is(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", advertise_host="auto") as daemon:
        assert uri.decode(daemon.uri()).host == "127.0.0.1"


@pytest.mark.long
@pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("avahi-daemon", "ip", "unshare", "nsenter"))
    or os.geteuid() != 0,
    reason="needs avahi-daemon, network namespaces and root",
)
def test_a_phone_that_paired_by_name_sends_again_after_the_address_has_changed(tmp_path: Path) -> None:
    argv = ["unshare", "--net", "--mount", sys.executable, str(ROOT / "tests/support/named_network.py")]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    done = subprocess.run(
        [*argv, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {"host": "novakey-test.local", "paired": "10.77.0.1", "sent": ["10.77.0.50", "ok"]}
