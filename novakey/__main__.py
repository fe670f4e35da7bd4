"""The way in: the one place where gevent's monkey-patching happens, before any other import.

The launch script, an installed `novakey` command and `python3 -m novakey` all
come through here. Nothing is imported above the patch but `sys`.
"""

import sys


def main() -> int:
    """Make the standard library cooperative, then run the command line; its exit code."""
    try:
        from gevent import monkey
    except ImportError as error:
        sys.stderr.write(f"novakey: gevent cannot be loaded: {error}\n")
        sys.stderr.write("install the requirements anew; beside novakey.py: delete .venv and start again\n")
        return 4
    monkey.patch_all(ssl=False)  # nothing here speaks TLS, and loading it takes a tenth of the start

    from novakey.cli import main as command_line

    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
