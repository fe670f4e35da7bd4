"""Pages that lie to the extension: none starts a request, steers one, or gets a secret of another site."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.browser_scene import BrowserScene, browser_scene, wait_for_badge

pytestmark = pytest.mark.long

SECRET = "kept-out-of-the-lies"
LOGIN = "<form action=/login method=post><input id=user><input type=password id=field></form>"


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def scene(request: pytest.FixtureRequest) -> Iterator[BrowserScene]:
    with browser_scene(request.param) as made:
        yield made


# What a script can make: events, messages, and connections to the extension.
FORGERIES = """
for (const target of [window, document, field, document.documentElement.lastElementChild])
  for (const kind of ["keydown", "keyup", "click", "pointerdown", "pagehide", "contextmenu", "message"])
    for (const detail of [{key: "Escape"}, {key: "F", ctrlKey: true, shiftKey: true}])
      target.dispatchEvent(new (/key/.test(kind) ? KeyboardEvent : Event)(kind, {bubbles: true, ...detail}));
for (const type of ["fill", "waiting", "ended", "cancel", "site", "outcome"])
  postMessage({type, id: "1", secret: "forged", name: "field"}, "*");
for (const api of [globalThis.chrome?.runtime, globalThis.browser?.runtime]) {
  try { api.connect("jbplfndohnifiagikigniiokadlmhibk", {name: "field"}).postMessage({type: "cancel"})
  } catch {}
  try { api.sendMessage("jbplfndohnifiagikigniiokadlmhibk", {type: "cancel"}) } catch {}
}
"""


def test_a_page_starts_no_request(scene: BrowserScene) -> None:
    scene.show(LOGIN)
    scene.page.evaluate(f"(() => {{ {FORGERIES} }})()")
    assert scene.hosts.none_within(1)
    assert scene.value() == ""


def test_a_page_steers_no_request(scene: BrowserScene) -> None:
    scene.show(LOGIN)
    host = scene.press()
    wait_for_badge(scene.page, there=True)
    scene.page.evaluate(f"(() => {{ {FORGERIES} }})()")
    assert host.fill(SECRET) == "filled", "neither cancelled nor filled with something else"
    assert scene.value() == SECRET


def test_a_page_reads_none_of_our_files(scene: BrowserScene) -> None:
    scene.show(LOGIN)
    address = "chrome-extension://jbplfndohnifiagikigniiokadlmhibk/site.html"
    assert scene.page.evaluate(f"fetch('{address}').then(() => 'read', () => 'refused')") == "refused"


def test_a_false_badge_gets_nothing(scene: BrowserScene) -> None:
    scene.show(LOGIN)
    badge = "<div popover=manual>waiting for the phone<button id=cross>x</button></div>"
    scene.page.evaluate(f"document.documentElement.insertAdjacentHTML('beforeend', '{badge}')")
    scene.page.evaluate("document.querySelector('#cross').click()")
    assert scene.hosts.none_within(1)
    host = scene.press()
    scene.page.evaluate("document.querySelector('#cross').click()")
    assert host.fill(SECRET) == "filled"


def test_a_page_that_removes_the_badge_hinders_only_itself(scene: BrowserScene) -> None:
    scene.show(LOGIN)
    host = scene.press()
    wait_for_badge(scene.page, there=True)
    scene.page.evaluate(
        "[...document.documentElement.children].forEach((each) => each.popover && each.remove())"
    )
    wait_for_badge(scene.page, there=True)
    scene.page.escape()
    assert host.read()["type"] == "cancel"


# Names that hide the properties of their document and their form.
CLOBBERED = """
<form name=activeElement></form><form name=querySelectorAll></form><img name=documentElement>
<form name=createElement></form><form name=hasFocus></form><form name=body></form><a id=novakey></a>
<form action=/login><input name=action value=https://elsewhere.example/><input name=elements>
<input name=querySelectorAll><input type=password id=field name=isConnected></form>"""
BY_ID = "document.getElementById('field')"


def test_names_that_hide_properties_change_nothing(scene: BrowserScene) -> None:
    scene.show(CLOBBERED, BY_ID)
    assert scene.press().fill(SECRET) == "filled"
    assert scene.value(BY_ID) == SECRET


def test_names_that_hide_the_target_of_the_form_do_not_hide_its_change(scene: BrowserScene) -> None:
    scene.show(CLOBBERED, BY_ID)
    host = scene.press()
    scene.page.evaluate(f"{BY_ID}.form.setAttribute('action', 'https://elsewhere.example/')")
    host.say("fill", secret=SECRET)
    assert host.outcome() == "site_changed"
    assert scene.value(BY_ID) == ""


REPLACED = """<script>
leaked = [];
Object.defineProperty(HTMLInputElement.prototype, "value", {
  get() { return "lie" }, set(text) { leaked.push(text) } });
for (const [owner, name] of [[EventTarget, "addEventListener"], [EventTarget, "dispatchEvent"],
    [Element, "checkVisibility"], [Element, "attachShadow"], [Element, "matches"]])
  owner.prototype[name] = function (...given) { leaked.push(given); throw Error("no") };
window.setTimeout = window.setInterval = () => leaked.push("timer");
window.getComputedStyle = () => leaked.push("style");
</script>"""
# The getter of a fresh frame, which the page above did not replace.
TRUE_VALUE = """(() => { const frame = document.createElement("iframe"); document.body.append(frame);
return Object.getOwnPropertyDescriptor(frame.contentWindow.HTMLInputElement.prototype, "value")
.get.call(field) })()"""


def test_a_page_that_replaces_functions_of_the_browser_changes_nothing(scene: BrowserScene) -> None:
    scene.show(REPLACED + LOGIN)
    assert scene.press().fill(SECRET) == "filled"
    assert scene.page.evaluate("leaked.length") == 0
    assert scene.page.evaluate(TRUE_VALUE) == SECRET


def test_a_policy_that_forbids_everything_hinders_nothing(scene: BrowserScene) -> None:
    scene.pages.policy = "default-src 'none'; require-trusted-types-for 'script'; form-action 'none'"
    try:
        scene.page.go(scene.pages.put("/policy", LOGIN.replace("id=field", "id=field autofocus")))
    finally:
        scene.pages.policy = ""
    assert scene.press().fill(SECRET) == "filled"


def test_a_field_that_is_covered_and_moved_is_filled_and_the_cover_is_not(scene: BrowserScene) -> None:
    scene.show(LOGIN)
    host = scene.press()
    scene.page.evaluate(
        """(() => { const {x, y} = field.getBoundingClientRect();
        const cover = document.createElement("input"); cover.id = "cover"; cover.type = "password";
        cover.style.cssText = `position:fixed; z-index:9; left:${x}px; top:${y}px`;
        document.body.append(cover); cover.focus();
        field.style.cssText = "position:absolute; top:300px" })()"""
    )
    assert host.fill(SECRET) == "filled"
    assert (scene.value(), scene.page.evaluate("cover.value")) == (SECRET, "")


def test_a_field_that_was_swapped_for_another_is_told_and_neither_is_filled(scene: BrowserScene) -> None:
    scene.show(LOGIN)
    host = scene.press()
    scene.page.evaluate(
        "(() => { was = field; const other = field.cloneNode(); field.replaceWith(other); other.focus() })()"
    )
    host.say("fill", secret=SECRET)
    assert host.outcome() == "gone"
    assert scene.value() == "" and scene.page.evaluate("was.value") == ""


FRAMES = """<script>for (let i = 0; i < 50; i += 1) {
  const frame = document.createElement("iframe"); frame.src = "ADDRESS"; document.body.append(frame); }
</script>"""
GREEDY = "<input type=password id=field autofocus><script>setInterval(() => field.focus(), 50)</script>"


def test_of_50_frames_of_the_same_site_none_but_the_focused_field_is_filled(scene: BrowserScene) -> None:
    scene.pages.put("/quiet", "<input type=password id=field>")
    scene.show(LOGIN + FRAMES.replace("ADDRESS", "/quiet"))
    host = scene.press()
    assert host.request["origin"] == scene.pages.origin
    assert host.fill(SECRET) == "filled"
    assert scene.value() == SECRET
    inside = "Array.from({length: 50}, (_, i) => window[i].document.querySelector('#field').value)"
    assert scene.page.evaluate(inside) == [""] * 50


def test_50_frames_of_another_site_that_fight_for_the_focus_start_no_request(scene: BrowserScene) -> None:
    scene.pages.put("/greedy", GREEDY)
    scene.show(LOGIN + FRAMES.replace("ADDRESS", scene.pages.other + "/greedy"))
    before = len(scene.browser.pages())
    scene.page.press_button()
    try:
        assert scene.hosts.none_within(3)
        assert scene.value() == ""
    finally:
        for page in scene.browser.pages():
            if "site.html" in page.url:
                page.close()
    assert len(scene.browser.pages()) == before


@pytest.mark.parametrize(
    "attributes", ["sandbox='allow-scripts' srcdoc='FIELD'", "src='data:text/html,FIELD'"]
)
def test_a_frame_without_a_site_is_not_filled(scene: BrowserScene, attributes: str) -> None:
    frame = attributes.replace("FIELD", "<input id=field autofocus>")
    scene.show(f"<iframe id=frame {frame}></iframe>", "document.querySelector('#frame')")
    scene.page.press_button()
    assert scene.hosts.none_within(2)
