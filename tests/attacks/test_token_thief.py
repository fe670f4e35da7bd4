"""The attack that the protocol cannot stop: read the token in the plaintext hello, and register first."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from support.daemon import Daemon, random_key, run, say
from support.pairing import begin, hello, register

from novakey import phone
from novakey.errors import NovaKeyError
from novakey.wire import pair, uri
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome

THIEF = "127.0.0.66"


def test_who_reads_the_token_first_pairs_but_the_owner_sees_it_and_revokes_it(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d") as daemon:
        text = daemon.uri()
        # In between, the thief holds the owner's hello back and takes its token.
        line = pair.encode_hello(uri.decode(text).token)
        token = pair.decode_hello(line)
        thief_key = random_key()
        stolen = pair.Registration("thief", thief_key)
        sock, public = begin(daemon, token, THIEF)
        assert b'"thief"' in register(sock, public, token, stolen)

        # The owner's phone fails, visibly: the window takes one device, and only that one may repeat itself.
        with pytest.raises(NovaKeyError):
            phone.pair_with(text, "owner")
        # The owner is told who paired, from where, and what to do.
        daemon.wait_for_log(f'paired: "thief" from {THIEF}')
        daemon.wait_for_log("devices revoke")

        profile = phone.Profile(daemon.host, daemon.port, "thief", thief_key, public)
        assert say(profile, MessageType.ARM).outcome is Outcome.OK, "it is a phone like any other"
        done = run("--data-dir", daemon.folder, "devices", "revoke", "thief")
        assert done.returncode == 0, done.stderr
        assert say(profile, MessageType.ARM).outcome in (Outcome.NOT_PAIRED, Outcome.CRYPTO_FAIL)


def test_the_token_alone_reads_nothing_and_makes_no_second_device(tmp_path: Path) -> None:
    """Who only listens has the token, the public key and the sealed register: not the KEM secret."""
    with Daemon(tmp_path / "d") as daemon:
        token = uri.decode(daemon.uri()).token
        sock, public = begin(daemon, token)
        mine = pair.Registration("owner", random_key())
        # At the same time the listener tries the token too, from many connections.
        answers: list[str] = []
        threads = [
            threading.Thread(target=lambda: answers.append(hello(daemon, token, THIEF)["reason"]))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(answers) == {"busy"}
        assert b'"owner"' in register(sock, public, token, mine)
        # For a minute the token still begins a handshake, for the phone that lost its acknowledgement.
        sock, public = begin(daemon, token, THIEF)
        assert register(sock, public, token, pair.Registration("thief", random_key())) == b""
        sock, public = begin(daemon, token, THIEF)
        assert register(sock, public, token, pair.Registration("owner", random_key())) == b""
        stored = json.loads(run("--data-dir", daemon.folder, "devices", "list", "--json").stdout)
        assert [row["id"] for row in stored["devices"]] == ["owner"]
