"""Where a secret may go: the program and the title of the focused window, against four lists.

In this order: a focus that cannot be read is refused; a denied program or title is
refused; then the lists of allowed things that are not empty decide. With
`target_match: all` each must have a match, so titles narrow what the programs allow.
With `any` one match is enough, as in the existing daemon, whose settings an import
takes over.

A program is the name of the executable, as the system tells it. The names that a
window gives itself can only deny, unless the system tells no program for the
window (it is then a program on another machine, or the compositor hides it).
Titles are weak: a web page chooses its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from novakey.config.settings import Settings
from novakey.desktop.base import Focus
from novakey.log.format import escape
from novakey.wire.refused import Sentence, filled, target_refused

# Programs that ask people for secrets. Executables, so the name of a package may differ.
_BROWSERS = """
    brave brave-browser chrome chromium chromium-browser epiphany falkon firefox firefox-bin firefox-esr
    google-chrome konqueror librewolf microsoft-edge msedge opera safari vivaldi vivaldi-bin
"""
_TERMINALS = """
    alacritty foot footclient ghostty gnome-terminal-server kgx kitty konsole lxterminal mate-terminal
    ptyxis qterminal rxvt st terminal tilix urxvt wezterm-gui windowsterminal xfce4-terminal xterm
"""
_PROMPTS = """
    consent credentialuibroker gcr-prompter gcr4-prompter gnome-ssh-askpass kdesu ksshaskpass kwalletd5
    kwalletd6 lxpolkit lxqt-openssh-askpass lxqt-policykit-agent lxqt-sudo pinentry pinentry-curses
    pinentry-fltk pinentry-gnome3 pinentry-gtk-2 pinentry-mac pinentry-qt pinentry-x11
    polkit-gnome-authentication-agent-1 polkit-kde-authentication-agent-1
    polkit-mate-authentication-agent-1 securityagent ssh-askpass x11-ssh-askpass
"""
_VAULTS = "1password bitwarden keepass keepassxc kleopatra kwalletmanager5 seahorse"
_REMOTE_DESKTOPS = "mstsc remmina remote-viewer virt-viewer"
_WITH_SPACES = {"brave browser", "google chrome", "microsoft edge"}
BUILT_IN = frozenset(f"{_BROWSERS} {_TERMINALS} {_PROMPTS} {_VAULTS} {_REMOTE_DESKTOPS}".split()).union(
    _WITH_SPACES
)
_UNKNOWN = "the program of the focused window cannot be told"


class TargetPolicy:
    """Decides about a focused window, as a `desktop.base.Delivery` that has no other rule."""

    def __init__(self, settings: Settings) -> None:
        self._enabled = settings.target_policy_enabled
        self._one_is_enough = settings.target_match == "any"
        self._denied = _names(settings.denied_process_names)
        self._denied_titles = _titles(settings.denied_window_titles)
        self._allowed = _names(settings.allowed_process_names)
        self._allowed_titles = _titles(settings.allowed_window_titles)
        nothing_listed = not (self._denied or self._denied_titles or self._allowed or self._allowed_titles)
        if settings.use_built_in_allowlist or nothing_listed:
            self._allowed |= BUILT_IN

    def check_target(self, focus: Focus | None) -> None:
        """Raise `Refused` unless the policy is off or allows it. Never quotes a title."""
        if not self._enabled:
            return
        if focus is None:  # a policy that cannot be checked permits nothing
            raise target_refused("the focused window cannot be read in this session")
        program = _names([focus.program] if focus.program else [])
        classes = _names(focus.classes)
        # Without a process number the window's own word is all there is.
        known = program or (classes if focus.pid is None else frozenset())
        self._refuse_denied(focus, known, program | classes)
        misses = list(self._misses(focus, known))
        if self._one_is_enough and None in misses:
            return
        for why in filter(None, misses):
            raise target_refused(why)

    def _refuse_denied(self, focus: Focus, known: frozenset[str], said: frozenset[str]) -> None:
        if self._denied and not known:
            raise target_refused(_UNKNOWN)
        if denied := self._denied & said:
            raise target_refused(filled("{} is a denied program", _shown(denied)))
        title = focus.title.casefold()
        if any(part in title for part in self._denied_titles):
            raise target_refused("the window has a denied title")

    def _misses(self, focus: Focus, known: frozenset[str]) -> Iterator[str | None]:
        """Yield None for a match, else what is missing, for each list of allowed things with entries."""
        if self._allowed and not known:
            yield _UNKNOWN
        elif self._allowed:
            yield None if self._allowed & known else filled("{} is not an allowed program", _shown(known))
        if self._allowed_titles:
            title = focus.title.casefold()
            match = any(part in title for part in self._allowed_titles)
            yield None if match else "the window has no allowed title"


def _names(names: Iterable[str]) -> frozenset[str]:
    """Program names to compare: their case, and the ending of Windows, do not matter."""
    return frozenset(name.strip().casefold().removesuffix(".exe") for name in names)


def _titles(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(part.casefold() for part in parts)


def _shown(names: frozenset[str]) -> Sentence:
    return Sentence("this", escape(min(names)))
