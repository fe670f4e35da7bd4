"""SSH_ASKPASS, GIT_ASKPASS and SUDO_ASKPASS: the prompt is an argument, the answer a line on standard output.

ssh(1) and ssh-add(1) say in SSH_ASKPASS_PROMPT what they want: `confirm` is
answered by the exit code, `none` is only shown. Other questions are known by
their words ("(yes/no)"). None of these goes to the phone: a yes is no secret,
and the person must see what they say yes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

from novakey.pull import SecretSource, write
from novakey.pull.person import UserPrompt, for_a_person


def askpass(
    prompt: str, env: Mapping[str, str], output: BinaryIO, ask: SecretSource, person: UserPrompt
) -> int:
    """Answer one prompt; the exit code. `NovaKeyError` when no secret comes."""
    match env.get("SSH_ASKPASS_PROMPT"):
        case "confirm":
            return 0 if person.agrees(prompt) else 1
        case "none":
            person.tell(prompt)
            return 0
    if for_a_person(prompt):
        # The host key question also takes a fingerprint, so its answer is passed on as it is typed.
        output.write(person.answer(prompt).encode() + b"\n")
        output.flush()
        return 0
    secret = ask(prompt, None)
    try:
        write(output, secret, b"\n")
    finally:
        secret.wipe()
    return 0
