"""One line of the doctor's report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from novakey.config.settings import Settings
from novakey.errors import NovaKeyError
from novakey.system.paths import Paths


class Verdict(Enum):
    """How much it matters."""

    OK = "ok"
    NOTE = "note"  # worth knowing; the program does its work
    FAULT = "FAIL"  # something that was asked for does not work


@dataclass(frozen=True)
class Finding:
    """What was found, why it matters, and the command that repairs it (empty where nothing needs repair)."""

    check: str
    verdict: Verdict
    found: str
    why: str
    cure: str = ""


Check = Callable[[Paths, Settings], Finding]


@dataclass(frozen=True)
class About:
    """What a check is about; makes its findings."""

    check: str
    why: str

    def ok(self, found: str) -> Finding:
        """All is well."""
        return Finding(self.check, Verdict.OK, found, self.why)

    def note(self, found: str, cure: str = "") -> Finding:
        """Worth knowing."""
        return Finding(self.check, Verdict.NOTE, found, self.why, cure)

    def fault(self, found: str, cure: str) -> Finding:
        """Broken."""
        return Finding(self.check, Verdict.FAULT, found, self.why, cure)

    def failed(self, error: NovaKeyError) -> Finding:
        """Broken, as an error of ours says."""
        return self.fault(error.problem, error.cure or "")
