#!/usr/bin/env python3
"""Starts NovaKey: finds or makes its environment, then enters `novakey.__main__`.

On a fresh machine this makes `.venv` beside itself and installs the pinned,
hash-checked requirements into it, once. Where the packages are importable
already (a container, a distribution, an active environment) it does not.

This file must at least parse under any Python, to be able to say which one is
needed: so no annotations and no f-strings here.
"""

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
VENV = os.path.join(HERE, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
REQUIREMENTS = os.path.join(HERE, "requirements.txt")
# Holds the SHA-256 of the requirements that are wholly installed, or UNFINISHED while they are not.
STAMP = os.path.join(VENV, "novakey-requirements")
UNFINISHED = "unfinished\n"
# Only its owner can open it, so that no other user can hold the lock and with it each first start.
LOCK = os.path.join(VENV, "novakey-lock")
# What the packages of requirements.in are imported as.
MODULES = ("gevent", "pqcrypto", "nacl", "qrcode", "png", "platformdirs", "yaml", "Xlib")
MODULES += ("idna", "publicsuffixlist") + (("jeepney",) if sys.platform.startswith("linux") else ())
# One mark for each time this start has re-executed itself: a broken environment must not go round for ever.
ROUNDS = "_NOVAKEY_LAUNCH_ROUNDS"
# Settings of pip that would send the packages elsewhere than into the environment.
NOT_FOR_PIP = (
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
)
# What pip says when it reaches nothing.
OFFLINE = ("Retrying (", "ConnectionError", "Network is unreachable", "Max retries", "ProxyError")


class Failure(Exception):
    """The environment lacks something: what, and the cure. Exit code 4."""


def main():
    try:
        if sys.version_info < (3, 11):
            found = ".".join(str(part) for part in sys.version_info[:3])
            raise Failure(
                "this is Python %s, and 3.11 or newer is needed" % found,
                "install a newer Python and start with it, for instance: python3.11 novakey.py",
            )
        if HERE not in sys.path[:1]:
            sys.path.insert(0, HERE)  # under -P or -I Python leaves the script's folder out
        _environment()
    except Failure as failure:
        sys.stderr.write("novakey: %s\n%s\n" % failure.args)
        return 4
    except KeyboardInterrupt:
        sys.stderr.write("\nnovakey: interrupted; the next start begins the installation again\n")
        return 130

    from novakey.__main__ import main as enter

    return enter()


def _environment():
    """Return where every package can be imported; else re-execute inside `.venv`, without a return."""
    from importlib.util import find_spec

    lacking = _lacking(find_spec)
    tries = len(os.environ.pop(ROUNDS, ""))
    if not lacking:
        return
    if os.environ.get("NOVAKEY_NO_BOOTSTRAP", "0") not in ("", "0"):
        raise Failure(
            "missing packages: %s (NOVAKEY_NO_BOOTSTRAP forbids installing them)" % ", ".join(lacking),
            "install them for this Python: python3 -m pip install --require-hashes -r requirements.txt",
        )
    if tries > 1:
        raise Failure("packages are still missing after installing: %s" % ", ".join(lacking), _again())
    if _inside() or not _complete():
        _make(from_scratch=_inside())
    os.environ[ROUNDS] = "x" * (tries + 1)
    sys.stderr.flush()
    os.execv(VENV_PYTHON, [VENV_PYTHON] + sys.orig_argv[1:])


def _lacking(find_spec):
    """Return the needed modules that `find_spec` does not find; none of them is imported."""
    specs = [(name, find_spec(name)) for name in MODULES]
    # A folder without code in it, as an interrupted removal leaves, has no origin.
    return [name for name, spec in specs if spec is None or spec.origin is None]


def _inside():
    return os.path.realpath(sys.prefix) == os.path.realpath(VENV)


def _complete():
    """Whether `.venv` holds all of the present requirements."""
    from glob import escape, glob
    from importlib.machinery import PathFinder

    if not os.path.exists(VENV_PYTHON) or _stamp() != _wanted():
        return False
    folders = glob(os.path.join(escape(VENV), "lib", "python3*", "site-packages"))
    return any(not _lacking(lambda name: PathFinder.find_spec(name, [folder])) for folder in folders)


def _stamp():
    try:
        with open(STAMP) as file:
            return file.read()
    except OSError:
        return None


def _write_stamp(text):
    beside = STAMP + ".new"
    with open(beside, "w") as file:
        file.write(text)
    os.replace(beside, STAMP)


def _wanted():
    import hashlib

    try:
        with open(REQUIREMENTS, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() + "\n"
    except OSError as error:
        raise Failure(
            "requirements.txt cannot be read: %s" % error.strerror,
            "copy the whole of NovaKey, not this script alone",
        )


def _make(from_scratch):
    """Make or repair `.venv`, one process at a time."""
    from importlib.util import find_spec

    if find_spec("venv") is None or find_spec("ensurepip") is None:
        raise Failure(
            "this Python cannot make virtual environments: its venv or ensurepip module is missing",
            "install it, on Debian with: apt install python%d.%d-venv" % sys.version_info[:2],
        )
    lock = None
    try:
        lock = _lock()
        if not from_scratch and _complete():
            return  # another start made it while this one waited
        _say("first start, or new requirements: installing into %s" % VENV)
        stamp = _stamp()
        _start_folder(from_scratch or stamp == UNFINISHED)
        if stamp in (None, UNFINISHED) or not os.path.exists(VENV_PYTHON):
            # Rebuilding the very environment that we run in takes the Python that it was made from.
            python = sys._base_executable if _inside() else sys.executable
            _run("making the environment", [python, "-m", "venv", VENV], lock)
        _install(lock)
        _write_stamp(_wanted())
    except OSError as error:
        raise Failure(
            "%s cannot be written: %s" % (error.filename or VENV, error.strerror),
            "start it once as a user who may write to %s, or install requirements.txt into an environment\n"
            "of your own and start it in there" % HERE,
        )
    finally:
        if lock is not None:
            os.close(lock)


def _lock():
    """Take the lock on `.venv`, which is made where it is missing.

    The installing children hold it too: should this process be killed, the next
    start waits for them instead of writing into the same environment.
    """
    while True:
        os.makedirs(VENV, exist_ok=True)
        lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        os.fchmod(lock, 0o600)  # a copy of the folder may have lost the mode
        _wait_for(lock)
        if os.path.exists(LOCK) and os.path.samestat(os.fstat(lock), os.stat(LOCK)):
            return lock
        os.close(lock)  # the folder was deleted in between


def _wait_for(lock):
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("waiting for another start that is installing")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks: better one unguarded start than none


def _start_folder(from_scratch):
    """Empty an unfinished environment, which is ours; any other is completed in place.

    The lock's file stays: a start that came after a new one would not wait for us.
    """
    import shutil

    if from_scratch and not os.path.islink(VENV):
        for entry in list(os.scandir(VENV)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.path != LOCK:
                os.unlink(entry.path)
    _write_stamp(UNFINISHED)


def _install(lock):
    # Only wheels: building from source would run code and fetch build tools that no hash vouches for.
    command = [VENV_PYTHON, "-m", "pip", "install", "--require-hashes", "--only-binary=:all:", "--no-user"]
    command += ["--no-input", "--disable-pip-version-check", "--retries=2", "-r", REQUIREMENTS]
    _run("installing the packages", command, lock)


def _run(what, command, lock):
    """One child with a line of progress for each package; a `Failure` with its cause when it fails."""
    import subprocess

    _say(what)
    env = {name: value for name, value in os.environ.items() if name not in NOT_FOR_PIP}
    env["PYTHONUNBUFFERED"] = "1"
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            pass_fds=(lock,),
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise Failure("%s failed: %s cannot be run: %s" % (what, command[0], error.strerror), _again())
    from novakey.system.sanitize import one_line

    said = []
    for line in map(one_line, map(str.strip, child.stdout)):  # a mirror chose some of it
        said = said[-200:] + [line]
        if line.startswith(("Collecting ", "Installing collected")):
            _say("  " + line.split(":")[0].strip().lower())
    if child.wait() != 0:
        raise _failure(what, said)


def _failure(what, said):
    """Return the cause and the cure from the last lines of the child."""
    text = "\n".join(said)
    if "DO NOT MATCH THE HASHES" in text:
        cause = "a package is not the one that requirements.txt names"
        cure = "do not use it; look at the network or the package mirror in between"
    elif "No space left" in text:
        cause, cure = "no space left on the disk", "make room and start again"
    elif any(sign in text for sign in OFFLINE):
        cause = "the package registry cannot be reached"
        cure = "connect this machine to the network (or set https_proxy) and start again"
    else:
        errors = (
            [line for line in said if line.lower().startswith("error")] or said[-1:] or ["no reason given"]
        )
        cause = errors[0].partition(":")[2].strip() or errors[0]
        cure = _again()
        if "No matching distribution" in text:
            cure = "use Python 3.11 to 3.14 on Linux or macOS, or look at the package mirror that pip uses"
    return Failure("%s failed: %s" % (what, cause), cure)


def _again():
    return "delete %s and start again" % VENV


def _say(text):
    sys.stderr.write("novakey: %s\n" % text)
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
