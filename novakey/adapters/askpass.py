"""SSH_ASKPASS, GIT_ASKPASS and SUDO_ASKPASS: the prompt is an argument, the answer a line on standard output.

ssh(1) and ssh-add(1) say in SSH_ASKPASS_PROMPT what they want: `confirm` is
answered by the exit code, `none` is only shown. Older questions are known by
their "(yes/no)". None of these goes to the phone: a yes is no secret, and the
person must see what they say yes to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import BinaryIO

from novakey.adapters import Ask

_YES_NO = re.compile(r"\((?:yes/no|y/n)\b", re.IGNORECASE)


def askpass(
    prompt: str,
    env: Mapping[str, str],
    output: BinaryIO,
    ask: Ask,
    agrees: Callable[[str], bool],
    answer: Callable[[str], str],
) -> int:
    """Answer one prompt; the exit code. `NovaKeyError` when no secret comes."""
    match env.get("SSH_ASKPASS_PROMPT"):
        case "confirm":
            return 0 if agrees(f"{prompt} (yes/no)") else 1
        case "none":
            return 0
    if _YES_NO.search(prompt):
        # The host key question also takes a fingerprint, so its answer is passed on as it is typed.
        output.write(answer(prompt).encode() + b"\n")
        output.flush()
        return 0
    secret = ask(prompt, None)
    try:
        output.write(secret.reveal() + b"\n")
        output.flush()
    finally:
        secret.wipe()
    return 0
