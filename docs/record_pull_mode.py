"""Records the terminal session in pull-mode.md: real ssh, git and gpg, answered by the reference phone.

    .tools/venv/bin/python docs/record_pull_mode.py

As root, for ssh needs a user with a password. What stands between the two marks in the page is
replaced by what the terminal showed.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import sys  # noqa: E402
from contextlib import ExitStack  # noqa: E402
from pathlib import Path  # noqa: E402

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.pull import Scene, Terminal, git_server, ordinary_user, random_secret, sshd  # noqa: E402

PAGE = ROOT / "docs/pull-mode.md"
BEGIN, END = "<!-- the recording -->\n", "<!-- its end -->\n"
SECRET = random_secret()


class Recording:
    """A shell on a terminal of its own, and the phone that answers what it asks."""

    def __init__(self, scene: Scene, terminal: Terminal, env: dict[str, str]) -> None:
        self._scene, self._terminal = scene, terminal
        self.replies: list[str] = []
        shell = ("bash", "--noprofile", "--norc", "--noediting", "-i")
        tty = {"stdin": terminal.slave, "stdout": terminal.slave, "stderr": terminal.slave}
        self._shell = scene.start(*terminal.words, *shell, env={**env, "PS1": "$ "}, cwd=scene.home, **tty)
        terminal.wait_for("$ ")
        self._prompts = 1

    def line(self, text: str, *steps: str) -> None:
        """Type a command. A step is a `tap` on the phone, or what is shown and what is typed then."""
        self._terminal.type(text)
        for step in steps:
            if step == "tap":
                row = self._scene.asked()
                reply = self._scene.tap(SECRET)
                assert reply.outcome.success, reply.msg
                self.replies.append(f"{reply.outcome.reason}: {reply.msg}")
                assert row["number"] == len(self.replies)
            else:
                shown, _, typed = step.partition(" -> ")
                self._terminal.wait_for(shown)
                self._terminal.type(typed)
        self._prompts += 1
        self._terminal.wait_until(lambda text: text.count("\n$ ") + 1 >= self._prompts)

    def text(self) -> str:
        """Return the last text of the terminal, without the last prompt."""
        lines = self._terminal.text().replace("\r\n", "\n").removesuffix("$ ").split("\n")
        # A line that was written over several times is as it was last.
        return "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in lines)


def prepare(scene: Scene, held: ExitStack, user: str) -> dict[str, str]:
    """Prepare two servers and a letter for us; return the environment of the shell."""
    keys = scene.folder / "keys"
    keys.mkdir()
    port = held.enter_context(sshd(scene, keys))
    (scene.home / "ssh_config").write_text(
        f"Host server\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n"
        f"  UserKnownHostsFile {keys}/known\n  LogLevel ERROR\n  PreferredAuthentications password\n"
    )
    url = held.enter_context(git_server(scene, SECRET)).replace("//", "//anna@")
    gnupg = scene.folder / "g"
    gnupg.mkdir(mode=0o700)
    (gnupg / "gpg-agent.conf").write_text(f"pinentry-program {scene.link('novakey-pinentry')}\n")
    env = {"GNUPGHOME": str(gnupg)}
    loopback = ("gpg", "--batch", "-q", "--pinentry-mode", "loopback", "--passphrase-fd", "0")
    scene.run(
        *loopback, "--quick-generate-key", "Anna <anna@example.org>", "future-default", env=env, input=SECRET
    )
    sealed = ("gpg", "--batch", "-q", "--trust-model", "always", "-r", "anna@example.org", "-e", "-o")
    scene.run(*sealed, str(scene.home / "letter.gpg"), env=env, input="the meeting is at noon\n")
    scene.run("gpgconf", "--kill", "all", env=env)  # it knows the passphrase of the key that it has just made
    held.callback(scene.run, "gpgconf", "--kill", "all", env=env)
    (scene.home / "bin").symlink_to(scene.folder / "bin")
    return {**env, "URL": url, "TERM": "dumb"}


def main() -> None:
    """Record, and put it into the page."""
    with ExitStack() as held:
        user = held.enter_context(ordinary_user(SECRET, "anna"))
        scene = held.enter_context(Scene())
        env = prepare(scene, held, user)
        url = env.pop("URL")
        terminal = held.enter_context(Terminal())
        recording = Recording(scene, terminal, env)
        recording.line("export SSH_ASKPASS=~/bin/novakey-askpass SSH_ASKPASS_REQUIRE=force")
        recording.line("export GIT_ASKPASS=~/bin/novakey-askpass")
        recording.line("ssh -F ssh_config server id -un", "(yes/no/[fingerprint])? -> yes", "tap")
        recording.line(f"git clone {url}/r.git notes", "tap")
        recording.line("export GPG_TTY=$(tty)")
        recording.line("gpg --decrypt letter.gpg", "tap")
        shown, replies = recording.text(), "\n".join(recording.replies)
    assert SECRET not in shown + replies and str(scene.folder) not in shown
    page = PAGE.read_text()
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    made = f"```text\n{shown}```\n\nWhat the phone was told, for one tap each:\n\n```text\n{replies}\n```\n"
    PAGE.write_text(f"{before}{BEGIN}{made}{END}{after}")


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("this makes a user, which only root can")
    main()
