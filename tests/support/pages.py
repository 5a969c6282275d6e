"""A browser at the web page: logs in, drops files, looks for what is wrong with what it shows.

With `SCREENSHOTS=FOLDER` it leaves a picture of every state, wide, narrow and dark.
"""

import os
from contextlib import contextmanager

from tests.support.programs import axe


@contextmanager
def visitor(browser, url):
    """A browser of its own, in which no script fails."""
    context = browser.new_context(viewport={"width": 1000, "height": 900}, accept_downloads=True)
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda told: told.type == "error" and faults.append(told.text))
    page.goto(url)
    yield page
    context.close()
    refused = "Failed to load resource"  # what the service answers is shown
    assert [fault for fault in faults if refused not in fault] == []


def log_in(page, key):
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Studies").wait_for()


def check(page, name):
    """Find nothing serious with axe, nothing that is too wide for a phone, and take pictures."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(axe())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    told = [
        f"{fault['id']}: {fault['help']} {[node['html'] for node in fault['nodes'][:3]]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]
    assert told == []
    wide, folder = page.viewport_size, os.environ.get("SCREENSHOTS")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.documentElement.scrollWidth <= 390", timeout=5000)
    if folder:
        page.wait_for_timeout(300)  # charts are drawn anew
        page.screenshot(path=f"{folder}/{name}-narrow.png", full_page=True)
        page.set_viewport_size(wide)
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(300)
        page.screenshot(path=f"{folder}/{name}-dark.png", full_page=True)
        page.emulate_media(color_scheme="light")
    page.set_viewport_size(wide)


def drop(page, path):
    """Drop a file onto the page, as a mouse does."""
    dropped = page.evaluate_handle(
        """([name, bytes]) => {
            const held = new DataTransfer();
            held.items.add(new File([new Uint8Array(bytes)], name));
            return held;
        }""",
        [path.name, list(path.read_bytes())],
    )
    page.dispatch_event(".drop", "drop", {"dataTransfer": dropped})
