"""Windows that show another machine: a virtual one, a remote desktop, a nested X server.

They pass on which key was pressed, and not what it gives here. So a borrowed key does not arrive, and the
layout of the other machine decides what arrives. They also lose keys that come faster than a person types:
QEMU's keyboard holds 16 bytes, and a client of RDP takes a release and a press of one key that lie together
in its queue for a repetition.
"""

from __future__ import annotations

from novakey.desktop.base import Focus

PACE_S = 0.02  # after each character
EACH_S = 0.03  # for each, with its step, on a busy machine

# Of programs, and of classes where the program is an interpreter. Viewers of VNC pass on what a key gives.
_PROGRAMS = """
    gnome-boxes gnome-connections krdc looking-glass-client nxagent org.gnome.boxes org.gnome.connections
    org.remmina.remmina qemu rdesktop remmina remote-viewer sdl-freerdp sdl-freerdp3 spicy vinagre
    virt-manager virt-viewer virtualboxvm vmplayer vmware vmware-vmx xephyr xfreerdp xfreerdp3 xnest
"""
_NAMES = frozenset(_PROGRAMS.split())
_FIRST = ("qemu-system-", "virtualbox machine")


def shows_another(focus: Focus) -> bool:
    """Return whether a window shows another machine."""
    names = {name.casefold() for name in (focus.program, *focus.classes) if name}
    return bool(names & _NAMES) or any(name.startswith(_FIRST) for name in names)
