"""Which desktop backend serves the session that is here now."""

from __future__ import annotations

from novakey.desktop.base import Backend, NoDisplayError


class Chooser:
    """Finds the backend for `desktop_backend`, and keeps it while it can run.

    A daemon may start before its session and outlive it, so the choice is made
    at each delivery; it costs a look at two variables.
    """

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._backends: dict[str, Backend] = {}

    def __call__(self) -> Backend:
        """The backend to use now; `NoDisplayError` names why none can be."""
        kind = self.kind()
        return self._backends.setdefault(kind.name, kind())

    def kind(self) -> type[Backend]:
        """Which backend that would be, without making it; `NoDisplayError` as above."""
        if self._wanted == "none":
            raise NoDisplayError("desktop_backend is none")
        reasons = []
        # Wayland first: under Xwayland an X11 client reaches only other X11 clients.
        for kind in _kinds(self._wanted):
            why_not = kind.unavailable()
            if why_not is None:
                return kind
            reasons.append(f"{kind.name}: {why_not}")
        raise NoDisplayError("; ".join(reasons))

    def close(self) -> None:
        """Give back what the backends hold."""
        for backend in self._backends.values():
            backend.close()


def _kinds(wanted: str) -> list[type[Backend]]:
    from novakey.desktop.wayland import WaylandBackend
    from novakey.desktop.x11 import X11Backend

    kinds: list[type[Backend]] = [WaylandBackend, X11Backend]
    return [kind for kind in kinds if wanted in ("auto", kind.name)]
