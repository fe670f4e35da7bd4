"""The existing daemon's folder as it leaves it, with keys, devices, configuration, QR and log."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as seal
from support.daemon import clean_environment
from support.secret_service import SecretService

from novakey.phone import Profile
from novakey.secret import Secret

# Ids of up to 255 bytes occur in the field.
LONG_ID = "ä" * 127 + "x"
# As its packages ship it: the policy is on, with 28 programs and one title. Two names are as people add them.
PROGRAMS = [
    *("chrome", "google-chrome", "chromium", "chromium-browser", "firefox", "firefox-esr", "msedge"),
    *("microsoft-edge", "brave", "brave-browser", "opera", "vivaldi", "safari", "librewolf", "1password"),
    *("bitwarden", "keepassxc", "keeper", "dashlane", "lastpass", "nordpass", "protonpass", "roboform"),
    *("enpass", "notepad", "gedit", "/usr/bin/kate", "TextEdit.exe"),
]
SHIPPED = {
    "listen_addr": "127.0.0.1:0",
    "log_dir": "./logs",
    "target_policy_enabled": True,
    "allowed_process_names": PROGRAMS,
    "allowed_window_titles": ["Bitwarden"],
    "allow_clipboard_when_disarmed": True,
    "allow_clipboard_on_inject_failure": True,
    "arm_api_enabled": False,
}


@dataclass
class Other:
    """Its folder, what only its phones know, and its keyring's key."""

    folder: Path
    phones: list[Profile]
    key: Secret
    settings: Mapping[str, Any]

    @classmethod
    def make(cls, folder: Path, settings: Mapping[str, Any] = SHIPPED, mode: int = 0o700) -> Other:
        """Return a folder with two phones, plain, and the configuration as YAML."""
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

        folder.mkdir(parents=True, mode=mode)
        folder.chmod(mode)
        seed = secrets.token_bytes(64)
        public = MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
        keys = {
            "kyber768_public": base64.b64encode(public).decode(),
            "kyber768_secret": base64.b64encode(seed).decode(),
        }
        (folder / "server_keys.json").write_text(json.dumps(keys, indent=2))
        phones = [
            Profile("127.0.0.1", 0, name, Secret(secrets.token_bytes(32)), public)
            for name in ("ios-old", LONG_ID)
        ]
        rows = [{"id": phone.device_id, "key_hex": phone.device_key.reveal().hex()} for phone in phones]
        (folder / "devices.json").write_text(json.dumps({"devices": rows}, indent=2))
        lines = [f"{name}: {json.dumps(value)}" for name, value in settings.items()]
        (folder / "server_config.yaml").write_text("\n".join(lines) + "\n")
        (folder / "novakey-pair.png").write_bytes(b"\x89PNG of a QR that is not scanned any more")
        (folder / "logs").mkdir()
        (folder / "logs" / "novakey.log").write_text("its log\n")
        return cls(folder, phones, Secret(secrets.token_bytes(32)), settings)

    def seal_devices(self) -> None:
        """Its sealed variant of the device store."""
        nonce = secrets.token_bytes(24)
        plain = (self.folder / "devices.json").read_bytes()
        ciphertext = seal(plain, b"NovaKey devices v1", nonce, self.key.reveal())
        members = {
            "v": 1,
            "alg": "xchacha20poly1305",
            "nonce_b64": base64.b64encode(nonce).decode(),
            "ct_b64": base64.b64encode(ciphertext).decode(),
        }
        (self.folder / "devices.json").write_text(json.dumps(members))

    def use_json(self) -> None:
        """Its configuration as JSON."""
        (self.folder / "server_config.yaml").unlink()
        (self.folder / "server_config.json").write_text(json.dumps(self.settings, indent=2))

    def put_key(self, service: SecretService) -> None:
        """Return the key of its sealed store in a real keyring, as it puts it there."""
        put = "import keyring; keyring.set_password('novakey', 'devices-key', input())"
        env = {**clean_environment(), **service.env}
        key = base64.b64encode(self.key.reveal()).decode()
        subprocess.run([sys.executable, "-c", put], input=key, env=env, text=True, check=True)
