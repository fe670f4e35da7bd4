"""The way in: the one place where gevent's monkey-patching happens, before any other import.

The launch script, an installed `novakey` command and `python3 -m novakey` all
come through here. Nothing is imported above the patch but `sys`.
"""

import sys


def main() -> int:
    """Make the standard library cooperative, then run the command line; its exit code."""
    try:
        patch()
    except ImportError as error:
        sys.stderr.write(f"novakey: gevent cannot be loaded: {error}\n")
        sys.stderr.write("install the requirements again; beside novakey.py: delete .venv and start again\n")
        return 4

    from novakey.cli import main as command_line

    return command_line(sys.argv[1:])


def patch() -> None:
    """Make the standard library cooperative: gevent's monkey-patching."""
    from gevent import config, events, monkey

    # gevent asks every installed package for plugins at each step of it. That takes half of a start, and no
    # other package is to decide what happens here.
    events.notify_and_call_entry_points = events.notify
    # It would print a failure's context with `pprint`, which pulls in `dataclasses` and `inspect`.
    config.format_context = "builtins.repr"
    monkey.patch_all(ssl=False)  # nothing here speaks TLS


if __name__ == "__main__":
    sys.exit(main())
