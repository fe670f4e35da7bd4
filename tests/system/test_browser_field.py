"""The extension fills the one field and tells the truth about it, in a real Chromium and a real Firefox.

The host is an instrument here, which lets a test choose each moment: support/browser_host.py. The short form
is Chromium with ten secrets.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from support.browser_scene import BrowserScene, badge_is_there, browser_scene, on_disk, wait_for_badge
from support.random_text import ALL, random_secret
from support.x11 import wait_until

LOGIN = "<form action=/login method=post><input id=user><input type=password id=field></form>"
BROWSERS = [
    pytest.param("chromium", marks=pytest.mark.long),
    pytest.param("firefox", marks=pytest.mark.long),
]
EVENTS = """<script>seen = []; for (const kind of ["input", "change"])
field.addEventListener(kind, (event) => seen.push([kind, field.value.length, event.bubbles]))</script>"""


@pytest.fixture(scope="module", params=BROWSERS)
def scene(request: pytest.FixtureRequest) -> Iterator[BrowserScene]:
    with browser_scene(request.param) as made:
        yield made


def secrets(count: int) -> Iterator[str]:
    """Return secrets of all scripts, without a line's end: a field of one line cannot hold one."""
    rng = random.Random()
    return (random_secret(rng, ALL) for _ in range(count))


def a_secret() -> str:
    return "".join(random.choices("abcdefghijkmnpqrstuvwxyz", k=24))


def test_chromium_fills_ten_secrets_and_empties_what_a_mask_altered() -> None:
    with browser_scene("chromium") as scene:
        scene.show(LOGIN)
        fill_each(scene, 10)
        secret = a_secret()
        scene.show(LOGIN + "<script>field.oninput = () => { field.value = field.value.slice(0, 8) }</script>")
        assert scene.press().fill(secret) == "altered"
        assert scene.value() == "" and scene.nowhere(secret[:8])


def test_each_of_300_secrets_is_in_the_field_byte_for_byte(scene: BrowserScene) -> None:
    scene.show(LOGIN)
    fill_each(scene, 300)


def fill_each(scene: BrowserScene, count: int) -> None:
    for number, secret in enumerate(secrets(count)):
        host = scene.press()
        assert host.request["origin"] == scene.pages.origin
        assert host.fill(secret) == "filled", f"secret {number}"
        # Compared here, so that a failure prints no secret.
        same = scene.value() == secret
        assert same, f"secret {number} is another"
        assert scene.page.evaluate("user.value") == ""


def test_the_page_gets_the_events_of_an_input_with_the_value_in_place(scene: BrowserScene) -> None:
    scene.show(LOGIN + EVENTS)
    secret = a_secret()
    assert scene.press().fill(secret) == "filled"
    assert scene.page.evaluate("seen") == [["input", 24, True], ["change", 24, True]]


def test_a_field_of_more_lines_keeps_them(scene: BrowserScene) -> None:
    scene.show("<textarea id=field></textarea>")
    assert scene.press().fill("first\nsecond\n") == "filled"
    assert scene.value() == "first\nsecond\n"


def test_without_a_focus_the_one_password_field_is_taken(scene: BrowserScene) -> None:
    scene.show(LOGIN, "document.body")
    assert scene.press().fill("here") == "filled"
    assert (scene.value(), scene.page.evaluate("user.value")) == ("here", "")


def test_without_a_focus_two_password_fields_are_one_too_many(scene: BrowserScene) -> None:
    scene.show("<input type=password><input type=password>", "document.body")
    scene.page.press_button()
    wait_for_badge(scene.page, there=True)
    assert scene.hosts.none_within(1)


def test_the_badge_stands_in_a_root_that_is_closed_to_the_page(scene: BrowserScene) -> None:
    scene.show(LOGIN)
    host = scene.press()
    wait_for_badge(scene.page, there=True)
    assert scene.page.evaluate(
        "[...document.documentElement.children].every((each) => each.shadowRoot === null)"
    )
    assert scene.nowhere("waiting for the phone")
    host.say("ended", reason="denied", message="")
    assert host.read() == {}


# ---- the truth: what happened, and nothing stays ----

CUT = "<input id=field oninput='setTimeout(() => field.value = field.value.slice(1), WHEN)'>"
ALTERING = {
    "maxlength": "<input type=password id=field maxlength=8>",
    "a mask at once": "<input id=field oninput='field.value = field.value.toUpperCase()'>",
    "a mask in the next turn": CUT.replace("WHEN", "0"),
    "a mask after a frame": CUT.replace("WHEN", "40"),
    "a script that clears it": "<input id=field onchange='field.value = \"\"'>",
    "a script that puts more in": "<input id=field oninput='if (field.value) field.value = field.value + 1'>",
    "a value that an e-mail cannot have": "<input type=email id=field>",
    "a copy in another field": """<input id=field oninput='if (field.value) { copy.value = field.value;
        field.value = field.value.slice(2) }'><input id=copy>""",
}


@pytest.mark.parametrize("body", ALTERING.values(), ids=ALTERING)
def test_an_altered_value_is_told_and_emptied(scene: BrowserScene, body: str) -> None:
    scene.show(body)
    secret = " " + a_secret()
    assert scene.press().fill(secret) == "altered"
    assert scene.value() in ("", "1") and scene.nowhere(secret[2:8])


CHANGING = {
    "gone": "field.remove()",
    "gone (replaced)": "field.replaceWith(field.cloneNode())",
    "gone (another document)": "document.implementation.createHTMLDocument('').body.append(field)",
    "unsuitable (read-only)": "field.readOnly = true",
    "unsuitable (disabled)": "field.disabled = true",
    "unsuitable (disabled by its group)": """field.outerHTML && (group.disabled = true)""",
    "unsuitable (no display)": "field.style.display = 'none'",
    "unsuitable (transparent)": "group.style.opacity = 0.01",
    "unsuitable (out of the page)": "field.style.cssText = 'position:absolute; left:-999px'",
    "unsuitable (tiny)": "field.style.cssText = 'width:1px; height:1px; padding:0; border:0'",
    "unsuitable (type)": "field.type = 'hidden'",
    "unsuitable (a number)": "field.type = 'number'",
    "site_changed": "field.form.action = 'https://elsewhere.example/'",
    "site_changed (base)": "document.head.innerHTML = '<base href=https://elsewhere.example/>'",
    "site_changed (button)": "go.formAction = 'https://elsewhere.example/'",
    "site_changed (put into a form)": """(() => { const form = document.createElement('form');
        form.id = 'other'; form.action = 'https://elsewhere.example/'; document.body.append(form);
        field.setAttribute('form', 'other') })()""",
    "navigated": "history.pushState(null, '', '/transfer')",
}


@pytest.mark.parametrize("outcome", CHANGING)
def test_a_field_that_changed_while_the_phone_was_asked_is_not_filled(
    scene: BrowserScene, outcome: str
) -> None:
    body = "<fieldset id=group style='border:0'><input type=password id=field></fieldset>"
    scene.show(f"<form action=/login>{body}<button id=go>In</button></form>")
    host = scene.press()
    scene.page.evaluate(f"({CHANGING[outcome]}, 0)")
    secret = a_secret()
    # Some are told at once, some when the secret comes.
    host.say("fill", secret=secret)
    assert host.outcome() == outcome.partition(" ")[0]
    assert scene.nowhere(secret)


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ("field.form.action = 'https://elsewhere.example/'", "site_changed"),
        ("field.remove()", "gone"),
        ("field.replaceWith(Object.assign(field.cloneNode(), {value: field.value}))", "gone"),
    ],
    ids=["target", "removed", "replaced with the value"],
)
def test_a_page_that_turns_when_it_has_the_value_is_told_and_emptied(
    scene: BrowserScene, change: str, outcome: str
) -> None:
    scene.show(f'<form action=/login><input id=field oninput="if (field.value) {change}"></form>')
    secret = a_secret()
    assert scene.press().fill(secret) == outcome
    assert scene.nowhere(secret)


def test_a_page_that_goes_away_is_told_as_navigated(scene: BrowserScene) -> None:
    scene.show(LOGIN)
    host = scene.press()
    scene.page.go(scene.pages.origin + "/")
    assert host.outcome() == "navigated"
    assert scene.value() == ""


def test_a_closed_tab_is_told_as_gone(scene: BrowserScene) -> None:
    page, first = scene.browser.open(scene.pages.put("/tab", LOGIN)), scene.page
    scene.page = page
    try:
        page.evaluate("field.focus()")
        host = scene.press()
        page.close()
        assert host.outcome() == "gone"
    finally:
        scene.page = first


def test_esc_takes_the_request_back_and_leaves_no_badge(scene: BrowserScene) -> None:
    scene.show(LOGIN + "<script>field.onkeydown = ({key}) => { if (key === 'Escape') seen = 1 }</script>")
    host = scene.press()
    scene.page.escape()
    assert host.read() == {"type": "cancel", "id": host.id}
    host.say("ended", reason="cancelled", message="")
    assert host.read() == {}
    assert scene.page.evaluate("typeof seen") == "undefined", "the page got the key"
    wait_for_badge(scene.page, there=False)


def test_the_button_pressed_again_takes_it_back_also_where_the_page_swallows_esc(scene: BrowserScene) -> None:
    scene.show(
        "<script>addEventListener('keydown', (e) => e.stopImmediatePropagation(), true)</script>" + LOGIN
    )
    host = scene.press()
    scene.page.press_button()
    assert host.read()["type"] == "cancel"


def test_a_host_that_ends_leaves_nothing_that_waits(scene: BrowserScene) -> None:
    scene.show(LOGIN)
    host = scene.press()
    wait_for_badge(scene.page, there=True)
    host.close()
    wait_for_badge(scene.page, there=False)
    assert scene.value() == ""
    assert scene.press().fill("next") == "filled", "the next request goes on"


def test_a_host_that_ends_while_the_page_is_filled_leaves_an_empty_field(scene: BrowserScene) -> None:
    scene.show(LOGIN)
    host, secret = scene.press(), a_secret()
    host.say("fill", secret=secret)
    host.close()
    wait_until(lambda: not badge_is_there(scene.page), "the end", 30)
    assert scene.value() in ("", secret)


@pytest.mark.parametrize("name", BROWSERS)
def test_a_browser_that_is_killed_closes_the_pipe(name: str) -> None:
    with browser_scene(name) as other:
        other.show(LOGIN)
        host = other.press()
        other.browser.kill()
        assert host.read() == {}


@pytest.mark.parametrize("name", BROWSERS)
def test_the_secret_is_nowhere_in_the_profile(name: str) -> None:
    filled, altered, dropped = (a_secret() for _ in range(3))
    with browser_scene(name) as other:
        other.show(LOGIN)
        assert other.press().fill(filled) == "filled"
        other.show("<input id=field oninput='field.value = field.value.slice(0, 9)'>")
        assert other.press().fill(altered) == "altered"
        other.show(LOGIN)
        host = other.press()
        other.page.evaluate("field.remove()")
        host.say("fill", secret=dropped)
        assert host.outcome() == "gone"
        other.browser.close()
        assert (other.browser.profile).is_dir()
        for secret in (filled, altered[:9], dropped):
            assert on_disk(other.browser.home, secret) == []
