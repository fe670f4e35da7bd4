"""The settings: every key with its default, what is allowed, what it means and when to change it.

One table. Validation (`novakey.config.load`), the commented example and the
documentation are all made from it, so a key is added here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from novakey.config.key import KEY, Key, choice, flag, names, number, string

# Upper bounds are not taste: past them a mistaken unit (seconds for milliseconds, bytes for megabytes)
# is likelier than a wish, and a window that never closes is no window.
_HOUR_MS = 3_600_000
_PER_MIN = "per minute"
_NO_MORE = 100_000


# fmt: off
@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """All settings; valid when they come from `novakey.config.load.load`. Units are in the names."""

    # network
    listen_addr: str = string("address", "0.0.0.0:60768",
        "Where the daemon listens; a port alone means every IPv4 address, port 0 lets the system choose one.",
        "Change it to listen on one network only, on IPv6 (\"[::]:60768\") or on another port.")
    advertise_host: str = string("host", "",
        "The host in the pairing QR: an address, a name, mdns for this computer's NAME.local where an mDNS "
        "responder runs, or auto (as \"\"): the address listened on, or that of the default route.",
        "Set mdns where the address changes: the app cannot edit one. Set an address for a forwarded port.")
    max_payload_len: int = number(4096, 1536, 65535, "bytes",
        "The longest message taken from a phone.",
        "Raise it together with max_inject_len for very long secrets.")
    max_requests_per_min: int = number(60, 1, _NO_MORE, _PER_MIN,
        "How many messages one paired device may send in a minute.",
        "The app in the field uses three for a good send and five for one that fails: count in these.")
    unauthenticated_max_per_min: int = number(120, 1, _NO_MORE, _PER_MIN,
        "How many messages that fail authentication one address may send before it is refused unread.",
        "Lower it on a hostile network; raise it when many phones share one address.")

    # pairing
    pair_hello_max_per_min: int = number(30, 1, _NO_MORE, _PER_MIN,
        "How many attempts to begin a pairing one address may make in a minute.",
        "Lower it on a hostile network.")
    pair_from: Literal["subnet", "any"] = choice("subnet", ("subnet", "any"),
        "From where a phone may pair: a network that this computer is directly attached to, or anywhere.",
        "Choose any in a container, behind a router of your own, or for the moment of pairing over a VPN.")
    pair_window_s: int = number(600, 1, 86_400, "seconds",
        "How long a pairing QR is valid.",
        "Lower it where strangers can see the screen.")
    pair_max_attempts: int = number(3, 1, 100, "handshakes",
        "How many handshakes may fail before a pairing window ends.",
        "Raise it where the network drops connections often.")
    pair_max_windows: int = number(5, 1, 1000, "windows",
        "How many windows may end interrupted, over restarts, before pairing locks until a reset.",
        "Raise it only while setting up on a bad network.")
    rotate_kyber_keys: bool = flag(False,
        "Make new server keys at each start; paired phones are dropped for it only when the owner agrees.",
        "Switch it on for one start, to have every phone pair again under new keys.")
    rotate_device_psk_on_repair: bool = flag(True,
        "Let a device that is paired pair again in an open window, with a new key; else it is refused.",
        "Switch it off where a phone must be revoked by hand before it can pair again.")

    # storage
    devices_file: str = string("path", "devices.json",
        "The sealed store of paired devices; a relative path is inside the data folder.",
        "Change it to keep the store elsewhere.")
    server_keys_file: str = string("path", "server_keys.json",
        "The sealed key pair of this server; a relative path is inside the data folder.",
        "Change it together with devices_file.")
    device_store: Literal["keyfile", "keyring", "passphrase"] = choice("keyfile",
        ("keyfile", "keyring", "passphrase"),
        "What keeps the key that seals both files: an owner-only file, the system's keyring, a passphrase.",
        "Choose keyring on a desktop with an unlocked keyring, passphrase in a container.")
    keyring_timeout_s: int = number(20, 1, 600, "seconds",
        "How long one answer of the keyring may take; an unseen prompt must not hang the daemon.",
        "Raise it for a hardware key that waits for a touch.")
    require_sealed_device_store: bool = flag(True,
        "Refuse to pair when device_store does not work; false falls back to keyfile, aloud.",
        "Switch it off where pairing matters more than which backend seals the store.")

    # arming and approval
    arm_duration_ms: int = number(20_000, 1, _HOUR_MS, "milliseconds",
        "How long a device stays armed when it does not say for how long. The app always asks for 15 s.",
        "Raise it for the reference phone, when people take longer between arming and sending.")
    arm_max_ms: int = number(120_000, 1, _HOUR_MS, "milliseconds",
        "The longest arming that a phone can ask for; more is cut to this. The app shows 15 s all the same.",
        "Lower it to force short armings; below 15 s the app and its owner do not know.")
    arm_consume_on_inject: bool = flag(True,
        "A delivery uses the arming up.",
        "Switch it off to send several secrets after arming once.")
    two_man_enabled: bool = flag(True,
        "A secret is delivered only after an approve message for the same device.",
        "Switch it off where one deliberate step on the phone is enough.")
    two_man_approver: Literal["phone", "computer", "either"] = choice("phone",
        ("phone", "computer", "either"),
        "Who approves: the phone that sends, the owner at this computer (a notification asks), or either.",
        "Choose computer where a phone alone must not be enough.")
    approve_wait_ms: int = number(0, 0, 60_000, "milliseconds",
        "How long a secret waits for the owner's approval here before the phone is told to ask again.",
        "Raise it so that one tap on each side is enough: the phone in the field waits without a deadline.")
    approve_window_ms: int = number(15_000, 1, _HOUR_MS, "milliseconds",
        "How long an approval stays open.",
        "Raise it when people take longer between approving and sending.")
    approve_consume_on_inject: bool = flag(True,
        "A delivery uses the approval up.",
        "Switch it off to send several secrets after approving once.")
    ask_confirm: bool = flag(True,
        "A program that asks, but not on a terminal that a person sees, waits for the owner's word.",
        "Switch it off on a server, where no person sees a notification.")
    notify: bool = flag(True,
        "Tell of pairings, revocations, refusals and use of the clipboard by notifications.",
        "Switch it off where the screen is shown to others.")
    reply_program_names: bool = flag(False,
        "Name the focused or asking program in replies, which anybody on the way can read.",
        "Switch it on where the phone's owner is this computer's and the network is yours.")
    refuse_when_locked: bool = flag(True,
        "Refuse secrets while the screen is locked, where a service tells that it is.",
        "Switch it off to type into the screen locker itself.")

    # delivery
    desktop_backend: Literal[
        "auto", "x11", "wayland", "wlroots", "gnome", "portal", "windows", "macos", "none"
    ] = choice("auto",
        ("auto", "x11", "wayland", "wlroots", "gnome", "portal", "windows", "macos", "none"),
        "How text reaches the focused window; auto looks at the session, wayland allows any of its ways.",
        "Name one when auto picks the wrong one, or none on a machine without a display.")
    max_inject_len: int = number(256, 1, 60_000, "characters",
        "The longest text that is delivered.",
        "Raise it for long passphrases or keys; max_payload_len bounds it.")
    allow_newlines: bool = flag(False,
        "Take text that holds line ends; a line end in a terminal runs what was typed.",
        "Switch it on to send text of several lines, when you trust every paired phone with a shell.")
    allow_tabs: bool = flag(False,
        "Take text that holds tabs; a tab moves the focus in a form.",
        "Switch it on to send a name and a password with a tab between them.")
    allow_typing_fallback: bool = flag(True,
        "Type the text as key events where it cannot be put straight into the focused control.",
        "Switch it off only where key events must never be sent; on X11 nothing is typed then.")
    allow_clipboard_when_disarmed: bool = flag(False,
        "Put a secret that arrives while not armed on the clipboard instead of refusing it.",
        "Switch it on when pasting by hand is the wanted way; any program can read the clipboard.")
    allow_clipboard_on_inject_failure: bool = flag(False,
        "Put a secret that could not be typed on the clipboard.",
        "Switch it on for sessions that let no program type; any program can read the clipboard.")
    clipboard_clear_s: int = number(15, 1, 3600, "seconds",
        "How long a secret stays on the clipboard; it is taken back then, and at exit, if it is still ours.",
        "Raise it when people take longer to paste.")
    macos_prefer_clipboard: bool = flag(True,
        "On macOS, paste through the clipboard rather than type.",
        "Switch it off when the clipboard is synchronised to other devices.")

    # where a secret may go
    target_policy_enabled: bool = flag(False,
        "Type only into windows that the lists below allow; where the focus cannot be read, into none.",
        "Switch it on to keep secrets out of chats and editors.")
    target_match: Literal["all", "any"] = choice("all", ("all", "any"),
        "Where both lists of allowed things have entries: all demands a match in each, any in one of them. "
        "What is denied is refused either way.",
        "Leave it; `import` sets any, as the existing daemon reads its lists.")
    use_built_in_allowlist: bool = flag(False,
        "Add common browsers, terminals, password prompts, password managers and remote desktops to "
        "allowed_process_names; on by itself when the policy is on and all four lists are empty.",
        "Switch it on to add your own names to the built-in ones.")
    allowed_process_names: tuple[str, ...] = names(
        "Programs that may receive a secret: whole names of executables, in any case. Empty means all.",
        "List them when the policy is on. A script's program is its interpreter.", "programs")
    allowed_window_titles: tuple[str, ...] = names(
        "Parts of window titles, in any case; of the allowed programs, only windows with one of them may "
        "receive a secret (see target_match). Weak: a web page chooses its title. Empty means all.",
        "List them to narrow down an allowed program.")
    denied_process_names: tuple[str, ...] = names(
        "Programs that never receive a secret, by executable or window class; they win over what is allowed.",
        "List them when the policy is on.", "programs")
    denied_window_titles: tuple[str, ...] = names(
        "Parts of window titles that never receive a secret; they win over what is allowed. Weak: a web "
        "page chooses its title.",
        "List them when the policy is on.")
    require_password_field: bool = flag(False,
        "Type only while a password field has the focus, as the focused program tells assistive "
        "technologies (AT-SPI, Linux only); programs that tell nothing, as terminals do, are refused.",
        "Switch it on where secrets are only ever typed into password fields.")

    browser_new_sites: Literal["ask", "refuse"] = choice("ask", ("ask", "refuse"),
        "What becomes of a page whose site had no secret before: the question about it says so, or it is "
        "refused.",
        "Choose refuse once every site that you use had its secret.")
    browser_allow_http: tuple[str, ...] = names(
        "Hosts whose pages may have a secret though they are not encrypted (http): whole names, without a "
        "port. Pages of this computer itself may always.",
        "List a device of your own network that has no https; its page and the secret can be read there.")

    # limits
    preface_max_len: int = number(64, 16, 4096, "bytes",
        "The longest first line of a connection; the two that exist have 13 and 14 bytes.",
        "Leave it: a peer that sends more does not speak this protocol.")
    preface_timeout_s: int = number(5, 1, 60, "seconds",
        "How long the first line may take in all, however slowly its bytes come.",
        "Raise it on a link with seconds of delay.")
    hello_max_len: int = number(1024, 128, 65_536, "bytes",
        "The longest pairing hello; one has about 70 bytes, and phones may add members.",
        "Raise it for a phone that sends more.")
    hello_timeout_s: int = number(5, 1, 60, "seconds",
        "How long a pairing hello may take in all.",
        "Raise it on a link with seconds of delay.")
    register_max_len: int = number(4096, 1536, 65_536, "bytes",
        "The longest pairing register; one has about 1300 bytes.",
        "Raise it for a phone that sends more. A stranger without the token never gets so far.")
    register_timeout_s: int = number(10, 1, 120, "seconds",
        "How long a register may take in all; the pairing window is taken until then.",
        "Raise it on a link with seconds of delay.")
    pairing_timeout_s: int = number(25, 2, 300, "seconds",
        "How long a whole pairing may take, from the first line to the acknowledgement.",
        "Raise it where the keyring asks a person while a phone pairs.")
    message_timeout_s: int = number(10, 1, 120, "seconds",
        "How long a message may take to arrive whole.",
        "Raise it on a link with seconds of delay.")
    reply_timeout_s: int = number(2, 1, 60, "seconds",
        "How long writing a reply may take; a peer that reads nothing must not hold a connection.",
        "Raise it on a link with seconds of delay.")
    delivery_timeout_s: int = number(5, 1, 60, "seconds",
        "How long typing one text may take; the next one waits for it.",
        "Raise it for long texts into slow programs.")
    max_connections: int = number(64, 4, 4096, "connections",
        "How many connections may be open at once; each takes a file descriptor.",
        "Raise it for very many phones, together with the limit on open files.")
    max_unauthenticated_per_address: int = number(16, 1, 4096, "connections",
        "How many connections of one address may be open at once without a genuine message.",
        "Raise it when many phones share one address.")
    max_pairing_connections: int = number(2, 1, 64, "connections",
        "How many connections may be in pairing; one that is silent gives way to a newer one.",
        "Leave it: only one phone at a time can take the window.")
    reserved_connections: int = number(8, 0, 1024, "connections",
        "How many of them are kept for addresses from which a paired device was heard in the last week.",
        "Raise it on a hostile network with several phones.")
    max_tracked_addresses: int = number(4096, 16, 1_000_000, "addresses",
        "How many addresses each table of addresses holds; the least recently used are forgotten.",
        "Lower it where memory is short.")

    # log
    log_dir: str = string("path", "",
        "The folder of the log files; \"\" means the log folder of the system for this user.",
        "Change it to keep logs on another disk.")
    log_file: str = string("path", "",
        "The name of the log file in it; \"\" means novakey.log.",
        "Change it when several daemons share a log folder.")
    log_rotate_mb: int = number(10, 1, 1024, "megabytes",
        "The size at which a log file is put aside and a new one begun.",
        "Lower it on a small disk.")
    log_keep: int = number(10, 1, 1000, "files",
        "How many log files put aside are kept.",
        "Lower it on a small disk.")
    log_stderr: bool = flag(True,
        "Log to the terminal or the service manager too.",
        "Switch it off when only the files are read.")
    log_redact: bool = flag(True,
        "Blank out all that looks like a key, a token or a pairing URI, should it ever reach the log.",
        "Switch it off only to look for a fault, with devices that you pair again afterwards.")
    # fmt: on

    # Where the values came from; no part of what makes two settings equal.
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    read_from: Path | None = field(default=None, compare=False)


_KEYS: dict[str, Key] = {one.name: one.metadata[KEY] for one in fields(Settings) if KEY in one.metadata}

# The first key of each part of the example and of the documentation.
SECTIONS = {
    "listen_addr": "network",
    "pair_hello_max_per_min": "pairing",
    "devices_file": "storage",
    "arm_duration_ms": "arming and approval",
    "desktop_backend": "delivery",
    "target_policy_enabled": "where a secret may go",
    "preface_max_len": "limits",
    "log_dir": "log",
}


def keys() -> dict[str, Key]:
    """All keys, in the order in which people are shown them."""
    return _KEYS
