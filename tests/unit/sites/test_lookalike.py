"""Names that can be taken for a remembered one are warned of, and ordinary sites are not."""

from __future__ import annotations

import itertools

import idna
import pytest

from novakey.sites.lookalike import Remembered, distance, warning
from novakey.sites.origin import parse

# The name that asks, and the one that had a delivery before.
LOOKALIKES = [
    # letters of other scripts
    ("\u0430pple.com", "apple.com"),
    ("\u0430\u0440\u0440\u04cf\u0435.com", "apple.com"),
    ("p\u0430ypal.com", "paypal.com"),
    ("paypa\u0142.com", "paypal.com"),
    ("g\u00f6\u00f6gle.com", "google.com"),
    ("goog\u04cfe.com", "google.com"),
    ("\u03bfffice.com", "office.com"),
    ("micr\u043esoft.com", "microsoft.com"),
    ("exampl\u00e9.org", "example.org"),
    ("ex\u00e3mple.org", "example.org"),
    ("\u0435xample.org", "example.org"),
    ("g\u0131thub.com", "github.com"),
    ("\u0261ithub.com", "github.com"),
    ("\u057deitcher.com", "ueitcher.com"),
    ("am\u0105zon.com", "amazon.com"),
    ("amaz\u00f8n.com", "amazon.com"),
    ("\u1e03ank.example", "bank.example"),
    ("b\u00fccher.de", "bucher.de"),
    ("bucher.de", "b\u00fccher.de"),
    ("wikip\u0435dia.org", "wikipedia.org"),
    # letters and digits that look alike
    ("exarnple.org", "example.org"),
    ("rnicrosoft.com", "microsoft.com"),
    ("vvikipedia.org", "wikipedia.org"),
    ("paypa1.com", "paypal.com"),
    ("g00gle.com", "google.com"),
    ("arnazon.com", "amazon.com"),
    ("clropbox.com", "dropbox.com"),
    ("1inkedin.com", "linkedin.com"),
    ("faceb00k.com", "facebook.com"),
    ("llnkedin.com", "linkedin.com"),
    ("5potify.com", "spotify.com"),
    # another ending
    ("example.net", "example.org"),
    ("paypal.co", "paypal.com"),
    ("github.co.uk", "github.com"),
    ("ing.top", "ing.com"),
    ("mybank.com.co", "mybank.com"),
    ("someone.gitlab.io", "someone.github.io"),
    # a slip of the finger
    ("exmaple.org", "example.org"),
    ("exampl.org", "example.org"),
    ("examplee.org", "example.org"),
    ("gogle.com", "google.com"),
    ("goggle.com", "google.com"),
    ("facebok.com", "facebook.com"),
    ("wikipedai.org", "wikipedia.org"),
    ("pyapal.com", "paypal.com"),
    ("appel.com", "apple.com"),
    ("stackoverfiow.com", "stackoverflow.com"),
    ("stackovreflov.com", "stackoverflow.com"),
    # another's name below one's own
    ("paypal.com.evil.example", "paypal.com"),
    ("www.paypal.com.account.example", "paypal.com"),
    ("paypal-com.evil.example", "paypal.com"),
    ("login.example.org.other.net", "login.example.org"),
    ("p\u0430ypal.com.evil.example", "paypal.com"),
    ("paypalcom.evil.example", "paypal.com"),
    ("example.org-login.net", "example.org"),
    # dots left out
    ("wwwpaypal.com", "paypal.com"),
    ("paypalcom.net", "paypal.com"),
    ("loginexample.org", "login.example.org"),
    ("login-example.org", "login.example.org"),
    ("paypal-com.net", "paypal.com"),
    ("shopbooks.example", "shop.books.example"),
    ("shop-books.net", "shop.books.example"),
    # dressed up
    ("paypal-login.com", "paypal.com"),
    ("secure-paypal.net", "paypal.com"),
    ("my-paypal-account.org", "paypal.com"),
    ("paypallogin.com", "paypal.com"),
    ("verify-mybank.example", "mybank.example"),
]

# Sites that one person may well use: none is to be taken for any other of them.
_NAMES = """
google.com youtube.com wikipedia.org facebook.com amazon.com reddit.com instagram.com github.com
gitlab.com bitbucket.org twitter.com twitch.tv linkedin.com netflix.com spotify.com apple.com
microsoft.com office.com live.com line.me ebay.com etsy.com paypal.com stripe.com skype.com zoom.us
slack.com discord.com dropbox.com box.com notion.so trello.com asana.com atlassian.com adobe.com canva.com
figma.com medium.com substack.com wordpress.com wix.com squarespace.com shopify.com booking.com airbnb.com
expedia.com uber.com lyft.com bbc.co.uk gov.uk nhs.uk hmrc.gov.uk lemonde.fr laposte.fr spiegel.de zeit.de
sparkasse.de commerzbank.de postbank.de ing.de n26.com revolut.com wise.com barclays.co.uk hsbc.com
lloydsbank.com santander.com natwest.com chase.com wellsfargo.com bankofamerica.com citi.com fidelity.com
vanguard.com schwab.com debian.org python.org pypi.org mozilla.org kernel.org gnu.org gnome.org kde.org
archlinux.org ubuntu.com stackoverflow.com serverfault.com superuser.com quora.com imdb.com imgur.com
flickr.com vimeo.com yahoo.com bing.com baidu.com yandex.ru vk.com mail.ru ok.ru proton.me tutanota.com
posteo.de mailbox.org gmx.net web.de heise.de golem.de telekom.de vodafone.de o2online.de bahn.de
lufthansa.com dhl.de ups.com fedex.com ikea.com otto.de zalando.de asos.com hm.com zara.com uniqlo.com
nike.com adidas.com puma.com steampowered.com epicgames.com gog.com ea.com ubisoft.com blizzard.com
nintendo.com sony.com samsung.com huawei.com xiaomi.com lenovo.com dell.com hp.com asus.com acer.com
intel.com amd.com nvidia.com oracle.com ibm.com sap.com salesforce.com okta.com auth0.com cloudflare.com
digitalocean.com hetzner.com ovh.com heroku.com vercel.com netlify.com docker.com kubernetes.io npmjs.com
rust-lang.org crates.io
"""
ORDINARY = _NAMES.split()

# These are nearer to each other than chance would have it, or stand below a service that many use.
NEAR = [
    ("github.com", "gitlab.com"),
    ("twitter.com", "twitch.tv"),
    ("bing.com", "ing.com"),
    ("ebay.com", "etsy.com"),
    ("slack.com", "stack.com"),
    ("line.me", "live.com"),
    ("visa.com", "vista.com"),
    ("hp.com", "hm.com"),
    ("ups.com", "usps.com"),
    ("skype.com", "stripe.com"),
    ("mozilla.slack.com", "mozilla.org"),
    ("example.okta.com", "example.org"),
    ("one.github.io", "another.github.io"),
    ("ab.com", "ba.com"),
    ("x.com", "x.org"),
    ("dell.com", "bell.ca"),
    ("mail.ru", "gmail.com"),
    ("bank.example", "banking.example"),
    ("zeit.de", "zeitung.de"),
    ("paypal.example.org", "paypal.com"),
    ("www.example.org", "example.org"),
    ("login.example.org", "accounts.example.org"),
    ("10.0.0.1", "10.0.0.2"),
    ("localhost", "example.org"),
    ("b\u00fccher.example", "blumen.example"),
    ("\u043f\u043e\u0447\u0442\u0430.\u0440\u0444", "mail.ru"),
    ("\u65e5\u672c\u8a9eabc.jp", "example.jp"),
    ("xn--zzzzzz9999.example", "example.org"),
]


def told(name: str, before: str) -> str:
    """Return the warning about `name` where `before` is remembered; both may be in Unicode."""
    site, known = (parse("https://" + ascii_name(one)) for one in (name, before))
    return warning(site, [Remembered(known.host, known.domain)])


def ascii_name(name: str) -> str:
    """Return a name as a browser tells it; one that IDNA 2008 does not allow by the letters alone."""
    labels = name.split(".")
    return ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in labels
    )


@pytest.mark.parametrize(("name", "before"), LOOKALIKES, ids=ascii)
def test_a_lookalike_is_warned_of(name: str, before: str) -> None:
    assert told(name, before)


def test_the_tables_are_as_long_as_they_claim() -> None:
    assert len(set(LOOKALIKES)) == len(LOOKALIKES) >= 40
    assert len(set(ORDINARY)) == len(ORDINARY) >= 150


def test_no_ordinary_site_is_taken_for_another() -> None:
    hosts = [parse(f"https://{name}") for name in ORDINARY]
    pairs = list(itertools.permutations(hosts, 2))[::17]
    assert len(pairs) >= 200
    wrong = [
        f"{site.host} {known.host}"
        for site, known in pairs
        if warning(site, [Remembered(known.host, known.domain)])
    ]
    assert wrong == []


@pytest.mark.long
def test_no_ordinary_site_is_taken_for_any_other() -> None:
    hosts = [parse(f"https://{name}") for name in ORDINARY]
    for site in hosts:
        assert not warning(site, [Remembered(one.host, one.domain) for one in hosts if one is not site])


@pytest.mark.parametrize(("name", "before"), NEAR, ids=ascii)
def test_near_names_that_are_ordinary_are_not_warned_of(name: str, before: str) -> None:
    assert not told(name, before)


@pytest.mark.parametrize(
    "name", ["p\u0430ypal.com", "\u0430\u0440\u0440\u04cf\u0435.com", "a\u03b1b.example"], ids=ascii
)
def test_mixed_or_disguised_letters_are_told_where_nothing_is_remembered(name: str) -> None:
    assert warning(parse(f"https://{ascii_name(name)}"), [])


@pytest.mark.parametrize(
    "name",
    [
        "b\u00fccher.example",
        "\u65e5\u672c\u8a9e\u304b\u306a.jp",
        "\u043f\u043e\u0447\u0442\u0430.example",
        "\ud55c\uae00abc.kr",
    ],
    ids=ascii,
)
def test_a_name_in_one_language_is_told_of_no_further(name: str) -> None:
    assert not warning(parse(f"https://{ascii_name(name)}"), [])


def test_a_remembered_site_is_never_warned_of_again() -> None:
    both = [Remembered(name, name) for name in ("example.org", "example.net")]
    assert warning(parse("https://login.example.net"), both) == ""
    disguised = ascii_name("p\u0430ypal.com")
    assert warning(parse(f"https://{disguised}"), [Remembered(disguised, disguised)]) == ""


@pytest.mark.parametrize(
    ("one", "other", "steps"),
    [("", "", 0), ("ab", "ba", 1), ("ab", "abc", 1), ("abc", "b", 2), ("abcd", "dcba", 3)],
)
def test_a_swap_counts_as_one_slip(one: str, other: str, steps: int) -> None:
    assert distance(one, other) == distance(other, one) == steps


def test_idna_and_the_test_agree_on_a_name() -> None:
    assert ascii_name("b\u00fccher.example") == idna.encode("b\u00fccher.example").decode()
