"""Completion scripts for shells, made from the parser itself: what it takes is what they offer."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

NAMES = ("novakey.py", "novakey")
PYTHONS = ("python3", "python")  # `python3 novakey.py`, as the pages say it


@dataclass(frozen=True)
class Word:
    """Something that may stand at a place; `takes` is what follows an option: "", "file" or "value"."""

    text: str
    about: str = ""
    takes: str = ""


@dataclass(frozen=True)
class Place:
    """Where one is after the commands in `path`: what may come, and whether a file may."""

    path: tuple[str, ...]
    words: tuple[Word, ...]
    options: tuple[Word, ...]
    file: bool


def own_names(action: argparse._SubParsersAction[argparse.ArgumentParser]) -> list[str]:
    """Return the names of the commands, without the older ones, which are aliases."""
    first = {id(command): name for name, command in reversed(action.choices.items())}
    return [name for name, command in action.choices.items() if first[id(command)] == name]


def places(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Place]:
    """Every place of a command line."""
    words: list[Word] = []
    options: list[Word] = []
    below: list[tuple[str, argparse.ArgumentParser]] = []
    file = False
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            about = {choice.dest: choice.help or "" for choice in action._choices_actions}
            names = own_names(action)
            words += [Word(name, about.get(name, "")) for name in names]
            below += [(name, action.choices[name]) for name in names]
        elif action.option_strings:
            takes = "" if action.nargs == 0 else "file" if action.type is Path else "value"
            options += [Word(text, action.help or "", takes) for text in action.option_strings]
        elif action.choices:
            words += [Word(str(choice)) for choice in action.choices]
        else:
            file = file or action.type is Path
    yield Place(path, tuple(words), tuple(options), file)
    for name, subparser in below:
        yield from places(subparser, (*path, name))


# For any other script, what completed these names before goes on doing so.
_BASH_PYTHON = """\
declare -F _completion_loader >/dev/null && _completion_loader python3
[[ $(complete -p python3 2>/dev/null) =~ -F\\ ([^ ]+) && ${BASH_REMATCH[1]} != _novakey_python ]] &&
    _novakey_python_before=${BASH_REMATCH[1]}
_novakey_python() {
    local at=1
    while ((at < COMP_CWORD)) && [[ ${COMP_WORDS[at]} == -* ]]; do ((at++)); done
    if ((at < COMP_CWORD)) && [[ ${COMP_WORDS[at]##*/} == novakey.py ]]; then
        local -a COMP_WORDS=("${COMP_WORDS[@]:at}")
        local COMP_CWORD=$((COMP_CWORD - at))
        _novakey
    elif [[ ${_novakey_python_before-} ]]; then
        "$_novakey_python_before" "$@"
    fi
}"""


def bash(places: list[Place]) -> str:
    """Return a script that walks over the words so far, then offers the words that may follow."""
    taking = sorted({option.text for place in places for option in place.options if option.takes})
    files = sorted({option.text for place in places for option in place.options if option.takes == "file"})
    commands = [
        f"        {quote(' '.join((*place.path, word.text)).strip())}) path=$next ;;"
        for place in places
        for word in place.words
        if any(other.path == (*place.path, word.text) for other in places)
    ]
    offers = [
        f"    {quote(' '.join(place.path))}) "
        f"words={quote(' '.join(w.text for w in (*place.words, *place.options)))}; file={int(place.file)} ;;"
        for place in places
    ]
    return "\n".join(
        [
            "# bash completion for novakey.py; made by: novakey.py completion bash",
            "_novakey() {",
            '    local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
            '    local path="" words="" file=0 index next',
            "    COMPREPLY=()",
            '    case "$before" in',
            f"    {'|'.join(files)})",
            '        mapfile -t COMPREPLY < <(compgen -f -- "$current")',
            "        compopt -o filenames 2>/dev/null",
            "        return ;;",
            f"    {'|'.join(taking)}) return ;;",
            "    esac",
            "    for ((index = 1; index < COMP_CWORD; index++)); do",
            '        next="${path:+$path }${COMP_WORDS[index]}"',
            '        case "$next" in',
            *commands,
            "        esac",
            "    done",
            '    case "$path" in',
            *offers,
            "    esac",
            '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")',
            "    if ((file)); then",
            '        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")',
            "        compopt -o filenames 2>/dev/null",
            "    fi",
            "}",
            f"complete -F _novakey {' '.join(NAMES)}",
            _BASH_PYTHON,
            f"complete -o bashdefault -o default -F _novakey_python {' '.join(PYTHONS)}",
            "",
        ]
    )


def zsh(places: list[Place]) -> str:
    """Return the same walk with a word of help for each. After `python3`, zsh completes the script."""
    taking = sorted({option.text for place in places for option in place.options if option.takes})
    files = sorted({option.text for place in places for option in place.options if option.takes == "file"})
    known = [f"        {quote(' '.join(place.path))}) path_=$next ;;" for place in places if place.path]
    lines = [
        f"#compdef {' '.join(NAMES)}",
        "# zsh completion for novakey.py; made by: novakey.py completion zsh",
        "_novakey() {",
        '    local path_="" next index',
        "    local -a offered",
        '    case "${words[CURRENT-1]}" in',
        f"    {'|'.join(files)}) _files; return ;;",
        f"    {'|'.join(taking)}) return ;;",
        "    esac",
        "    for ((index = 2; index < CURRENT; index++)); do",
        '        next="${path_:+$path_ }${words[index]}"',
        '        case "$next" in',
        *known,
        "        esac",
        "    done",
        '    case "$path_" in',
    ]
    for place in places:
        offered = " ".join(quote(_described(word)) for word in (*place.words, *place.options))
        files_too = "; _files" if place.file else ""
        lines.append(f"    {quote(' '.join(place.path))}) offered=({offered}){files_too} ;;")
    return "\n".join([*lines, "    esac", "    _describe word offered", "}", '_novakey "$@"', ""])


def _described(word: Word) -> str:
    """As `_describe` reads it: the word, a colon, what it is about."""
    text = word.text.replace(":", "\\:")
    return f"{text}:{word.about}" if word.about else text


_FISH_PYTHON = """\
function __novakey_line
    set -l words (commandline -opc)
    for at in (seq 2 (count $words))
        string match -q -- '-*' $words[$at]; and continue
        string match -qr -- '(^|/)novakey\\.py$' $words[$at]; or return 1
        echo novakey.py (string escape -- $words[(math $at + 1)..]) (commandline -ct)
        return 0
    end
    return 1
end"""
_FISH_ASK = "(complete -C (__novakey_line))"


def fish(places: list[Place]) -> str:
    """Return a line for each word, with the commands that it may follow."""
    lines = ["# fish completion for novakey.py; made by: novakey.py completion fish"]
    for name in NAMES:
        lines.append(f"complete -c {name} -f")
        for place in places:
            deeper = [word.text for word in place.words if word.text]
            seen = [f"__fish_seen_subcommand_from {command}" for command in place.path]
            unseen = [f"not __fish_seen_subcommand_from {' '.join(deeper)}"] if deeper else []
            when = quote("; and ".join([*seen, *unseen]) or "true")
            for word in place.words:
                lines.append(f"complete -c {name} -n {when} -a {quote(word.text)} -d {quote(word.about)}")
            for option in place.options:
                style = "-l" if option.text.startswith("--") else "-s"
                needs = {"": "", "file": " -r -F", "value": " -x"}[option.takes]
                lines.append(
                    f"complete -c {name} -n {when} {style} {option.text.lstrip('-')}{needs} "
                    f"-d {quote(option.about)}"
                )
            if place.file:
                lines.append(f"complete -c {name} -n {when} -F")
    lines.append(_FISH_PYTHON)
    lines += [f"complete -c {name} -n '__novakey_line >/dev/null' -f -a '{_FISH_ASK}'" for name in PYTHONS]
    return "\n".join([*lines, ""])
