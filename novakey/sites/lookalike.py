"""Whether a site can be taken for one that is remembered: the one check against phishing that names can make.

Pure: two names in, a sentence out. It says too much rather than too little, because a person reads it once
for each new site. What it must not do is warn of any two sites: then no person would read it.

    same letters   exarnple.org for example.org, and its like in other scripts
    other ending   example.net for example.org
    a slip         exmaple.org, exampl.org, examplee.org
    inside         example.org.other.net, example-org.net, login-example.net, loginexample.org
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from novakey.sites import confusables
from novakey.sites.origin import Site, readable, suffix

# Words that a false name is dressed with.
_WORDS = (
    "www www2 login logon signin sso auth id account accounts my secure security mail webmail web "
    "online pay payment verify support help service portal update app mobile m bank banking wallet "
    "password reset team official "
)
_BAIT = _WORDS.split()
_SHORT = 3  # a shorter label is shared by too many
_SLIP_FROM = 5  # of four letters, one more makes another word
_CHANGED_FROM = 6  # of five letters, one other letter makes another word
_TWO_SLIPS_FROM = 12


class Remembered(NamedTuple):
    """A host that had a delivery, and its registrable domain, both in ASCII."""

    host: str
    domain: str


def warning(site: Site, remembered: Iterable[Remembered]) -> str:
    """Return what to say loudly about a site, or an empty text.

    A site of a remembered domain is that site, and can be written in any way.
    """
    known = list(remembered)
    if any(one.domain == site.domain for one in known):
        return ""
    if site.has_domain:
        for one in known:
            how = resembles(site, one)
            if how:
                return f"it {how} {readable(one.domain)}, which had a secret before, and is another site"
    return _odd(site)


def resembles(site: Site, known: Remembered) -> str:
    """Return how a site resembles another that is remembered, as a verb; empty where it does not."""
    if site.domain == known.domain or "." not in known.domain or suffix(known.domain) == known.domain:
        return ""
    label, ending = _split(site.domain)
    their, their_ending = _split(known.domain)
    same, theirs = confusables.skeleton(label), confusables.skeleton(their)
    if same == theirs and len(theirs) >= _SHORT:
        return "has the name but not the ending of" if label == their else "looks like"
    if confusables.skeleton(f"{label}.{ending}") == confusables.skeleton(f"{their}.{their_ending}"):
        return "looks like"
    if _is_slip(label, their) or _is_slip(same, theirs):
        return "is nearly spelt as"
    if _is_inside(site, known):
        return "has in it the name of"
    return ""


def _odd(site: Site) -> str:
    """Return what is strange about a name by itself."""
    for part in readable(site.host).split("."):
        if confusables.mixes_scripts(part):
            return "its name mixes letters of several scripts"
    labels = readable(site.domain).split(".")
    if labels[-1].isascii() and confusables.passes_for_latin(labels[0]):
        return f"its letters are not Latin, but they look like {confusables.latin(labels[0])}"
    return ""


def _split(domain: str) -> tuple[str, str]:
    """Return the registered label and the public suffix, in Unicode."""
    ending = suffix(domain)
    label = domain.removesuffix(f".{ending}")
    return readable(label), readable(ending)


def _is_slip(label: str, their: str) -> bool:
    """Whether one or two slips of the finger make one label of the other."""
    shorter = min(len(label), len(their))
    if shorter < _SLIP_FROM:
        return False
    # Singular and plural are two words, and two firms.
    if {label, their} in ({label, f"{label}s"}, {their, f"{their}s"}):
        return len(their) >= _CHANGED_FROM + 2
    if distance(label, their) == 1:
        return len(their) >= _CHANGED_FROM or len(label) != len(their) or sorted(label) == sorted(their)
    return shorter >= _TWO_SLIPS_FROM and distance(label, their) == 2


def _is_inside(site: Site, known: Remembered) -> bool:
    """Whether a host is built of another's name: below a domain of others, or with its dots left out."""
    host = confusables.latin(readable(site.host))
    label, _ = _split(site.domain)
    label = confusables.latin(label)
    their = confusables.latin(_split(known.domain)[0])
    for name in {known.domain, known.host}:
        whole = confusables.latin(readable(name))
        below = host.removesuffix(confusables.latin(readable(site.domain)))
        forms = (whole, whole.replace(".", "-"))
        if any(_has_words(host, form) for form in forms) or whole.replace(".", "") in below.split("."):
            return True
        if label.startswith((forms[1] + "-", whole.replace(".", ""))) and len(their) >= _SHORT:
            return True
        if label in (whole.replace(".", ""), forms[1], _without_suffix(name, ""), _without_suffix(name, "-")):
            return True
    return len(their) >= _SHORT + 1 and _is_dressed(label, their)


def _without_suffix(name: str, dot: str) -> str:
    """Return a host without its public suffix and with `dot` for its dots; empty for a domain alone."""
    labels = readable(name.removesuffix("." + suffix(name))).split(".")
    return confusables.latin(dot.join(labels)) if len(labels) > 1 else ""


def _has_words(text: str, words: str) -> bool:
    """Whether `words` stand in `text` as whole labels, or as their beginning before a hyphen."""
    begin = text.find(words)
    before, after = text[:begin][-1:], text[begin + len(words) :][:1]
    return begin >= 0 and before in ("", ".") and after in ("", ".", "-")


def _is_dressed(label: str, their: str) -> bool:
    """Whether a label is another with a word of bait before or behind it, or several joined by hyphens."""
    rest = label.split("-")
    if len(rest) > 1 and their in rest and any(word in _BAIT for word in rest):
        return True
    bare = label.replace("-", "")
    return any(bare in (word + their, their + word) for word in _BAIT if len(word) > 1)


def distance(one: str, other: str) -> int:
    """Return the least number of letters added, left out, changed or swapped with the next one."""
    rows = [list(range(len(other) + 1))]
    for row, letter in enumerate(one, 1):
        line = [row]
        for column, theirs in enumerate(other, 1):
            least = min(rows[-1][column] + 1, line[-1] + 1, rows[-1][column - 1] + (letter != theirs))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == theirs:
                least = min(least, rows[-2][column - 2] + 1)
            line.append(least)
        rows.append(line)
    return rows[-1][-1]
