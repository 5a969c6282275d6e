"""The web page in a real browser, from the login to an encoder that predicts."""

import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.pages import check, drop, log_in, visitor
from tests.support.scripted import reporting
from tests.support.servers import free_port, mlflow_ui, until
from tests.tuner.service.conftest import arrays, client_of, serving
from tests.tuner.service.incoming.test_offers import offering_code
from tuner.scripts.told import Told
from tuner.settings import Settings
from tuner.storage.accounts import create_key
from tuner.storage.database import Database
from tuner.study.trial import TrialRequest

pytestmark = pytest.mark.system

STARTS = 120_000  # milliseconds in which a study on a busy machine starts, trains and ends
SOON = 60_000


OPTIONS = {"a": "vision", "b": "sound", "trials": 5, "replicates": 2, "confirm_replicates": 2}
OPTIONS |= {"epochs": 3, "hidden": 8}


def write_pairs(path):
    held = arrays()
    np.savez(path, vision=held["a"], sound=held["b"], y=held["y"])


@pytest.fixture(scope="module")
def service(new_home, tmp_path_factory):
    """One service for all of these tests: its home, where MLflow is to be, and its address."""
    home, port = new_home(tmp_path_factory.mktemp("home")), free_port()
    environment = {
        "TUNER_MLFLOW_URL": f"http://127.0.0.1:{port}",
        "TUNER_SCRIPTS": str(offering_code(tmp_path_factory.mktemp("offers"), users="admin")),
        "TUNER_SECRET_KEY": "of the service alone",
    }
    with serving(home, **environment) as (_, url):
        yield home, port, url


# Somebody who looks at another page, and a browser that writes down what it tells them.
AWAY = """() => {
    Object.defineProperty(document, "hidden", { get: () => true });
    window.noticed = [];
    window.Notification = class {
        static permission = "default";
        static async requestPermission() { return "granted"; }
        constructor(title, { body }) { noticed.push(`${title}: ${body}`); }
    };
}"""


@pytest.fixture
def page(browser, service):
    with visitor(browser, service[2]) as page:
        yield page


def report(page):
    href = page.get_by_role("link", name="Report", exact=True).get_attribute("href")
    return href.removeprefix("api/v1")


def test_a_person_submits_watches_and_takes_an_encoder_home(page, browser, service, tmp_path):
    home, port, url = service
    good, bad = tmp_path / "pairs.npz", tmp_path / "bad.npz"
    write_pairs(good)
    np.savez(bad, **arrays() | {"a": np.full((150, 4), np.nan)})
    page.get_by_label("API key").fill("tk_wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("this key is unknown, or was revoked").wait_for()
    check(page, "login")
    log_in(page, (home / "api-key").read_text())
    page.get_by_text("None yet.").wait_for()
    check(page, "empty")

    page.get_by_role("link", name="New study").click()
    drop(page, bad)
    page.get_by_role("heading", name="bad.npz cannot be used").wait_for(timeout=SOON)
    assert page.get_by_text("600 NaN").count() == 1
    drop(page, good)
    page.get_by_role("heading", name="pairs.npz cannot be used").wait_for(timeout=SOON)
    faulty = page.locator("[data-field=a]")
    faulty.get_by_text("Choose arrays with “Array of A”, “Array of B” and “Label”").wait_for()
    assert page.get_by_label("Array of A").get_attribute("aria-invalid") == "true"
    check(page, "form-faulty")
    page.get_by_label("Array of A").select_option("vision")
    page.get_by_label("Array of B").select_option("sound")
    page.get_by_role("heading", name="pairs.npz: 150 pairs").wait_for(timeout=SOON)
    page.get_by_role("cell", name="150 × 4").wait_for()
    page.get_by_text("Everything else").click()
    page.get_by_label("λs tried").fill("2")
    page.get_by_role("button", name="Submit").click()
    assert page.get_by_label("λs tried").get_attribute("aria-invalid") == "true"
    for label, value in (("λs tried", 5), ("Seeds at every λ", 2), ("Seeds that confirm", 2)):
        page.get_by_label(label).fill(str(value))
    page.get_by_label("Epochs").fill("3")
    page.get_by_label("Hidden").fill("8")
    page.get_by_label("Folds", exact=True).select_option("auto")
    # A field that has the focus is scrolled to after a change of the window's size: it is left.
    page.get_by_text("Expected: 14 trainings").click(timeout=SOON)
    page.get_by_text("42 gradient steps").wait_for(timeout=SOON)
    page.get_by_role("button", name="What would it show?").click()
    page.get_by_text("With 2 confirming seeds and 22 labelled test rows").wait_for(timeout=SOON)
    page.get_by_text("Both (mean): a gain in accuracy of").wait_for()
    page.get_by_role("button", name="What do past studies say?").click()
    page.get_by_text("Nothing is predicted for pairs: it lies outside").wait_for(timeout=SOON)
    check(page, "form")
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("heading", name="pairs").wait_for(timeout=SOON)
    page.locator(".phases .now").wait_for(timeout=SOON)
    page.locator(".curve .chart .dot").first.wait_for(timeout=STARTS)
    check(page, "running")
    page.evaluate(AWAY)
    page.get_by_role("button", name="Notify me").click()
    page.get_by_text("This browser will tell you when the study ends.").wait_for()
    page.locator("#headline").wait_for(timeout=STARTS)
    assert page.evaluate("noticed") == [f"pairs: {page.locator('#headline').inner_text()}"]
    assert page.locator("#state").inner_text() == "done"
    assert page.locator(".warnings p").first.inner_text().startswith("Still learning after 3")
    titles = [card.inner_text() for card in page.locator(".card h3").all()]
    assert titles == ["A and B together", "A alone", "B alone"]
    for mark in ("model of the curve", "its 95 % band", "λ* =", "best λ, 95 %"):
        assert page.locator(".curve .legend").first.get_by_text(mark).count() == 1
    together = "Both encoders together: retrieval, a fused head"
    for words in ("Every λ that was tried", together, "Information profile", "How it was asked"):
        page.get_by_text(words, exact=True).click()
    assert page.get_by_role("region", name="Trials").locator("tbody tr").count() == 5
    assert "--epochs 3" in page.get_by_label("command", exact=True).inner_text()
    check(page, "study")
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    check(page, "study-forced")
    page.emulate_media(forced_colors="none", reduced_motion="no-preference")
    address = page.url
    with mlflow_ui(home, port):
        page.get_by_role("link", name="Runs in MLflow").click()
        page.get_by_text("pairs (vision + sound, 150 pairs)").first.wait_for(timeout=60_000)
        page.get_by_text("pairs-a-encoder").first.wait_for(timeout=60_000)
    page.goto(address)
    page.locator("#headline").wait_for()
    take_home(page, tmp_path, arrays()["a"][:7])

    assert "λ-curve" in page.request.get(f"{url}/api/v1{report(page)}").text()
    shutil.rmtree(home / "reports")  # as where the study ran on another machine
    assert "λ-curve" in page.request.get(f"{url}/api/v1{report(page)}").text()


def take_home(page, folder, rows):
    """The encoder of A, as the page gives it, predicts in a process that has nothing of ours."""
    with page.expect_download() as download:
        page.get_by_role("link", name="Encoder of A (zip)").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(folder / "encoder")
    np.save(folder / "rows.npy", rows)
    page.get_by_text("To use them in Python").click()
    shown = page.get_by_label("code to load the downloaded encoder", exact=True).inner_text()
    script = "import numpy\nx = numpy.load('rows.npy')\n" + shown
    script += "\nprint(len(answer['prediction']))\n"
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=folder
    )
    assert told.stdout.split()[-1] == str(len(rows))


def test_curves_of_any_scores_are_drawn(page):
    """Few of them, equal ones, nearly equal ones with large errors, one that diverged."""
    means = [[0.5], [0.5, 0.5], [0.5, 0.7, 0.7001, 0.9], [0.5, 0.51, 0.52, -1e6], [0, 0, 0, 1e-9]]
    drawn = page.evaluate(
        """async (means) => {
            const { lambdaCurve } = await import("./js/chart.js");
            const told = [];
            for (const of of means) {
                const points = of.map((mean, n) => ({ lambda: n, mean, sem: n ? 0.05 : 0 }));
                const figure = lambdaCurve({ title: "", points, maximum: 4, metric: "accuracy" });
                document.body.append(figure);
                await new Promise((next) => requestAnimationFrame(() => setTimeout(next, 50)));
                told.push(figure.querySelector(".chart").innerHTML);
            }
            return told;
        }""",
        means,
    )
    assert [picture.count("<circle") for picture in drawn] == [len(each) for each in means]
    for picture in drawn:
        assert "NaN" not in picture
        assert "Infinity" not in picture


def submit_pairs(service, path):
    """The study of the first test again, which is answered from the store where that one ran."""
    home, _, url = service
    write_pairs(path)
    with client_of(home, url) as client:
        submitted = client.submit(path, **OPTIONS)
        client.result(submitted["id"], wait=True)
    return submitted


@pytest.fixture(scope="module")
def study(service, tmp_path_factory):
    """One study, with its answer, to look at."""
    return submit_pairs(service, tmp_path_factory.mktemp("data") / "pairs.npz")


def opened(page, service, study):
    """Log in and open a study."""
    home, _, url = service
    log_in(page, (home / "api-key").read_text())
    page.goto(f"{url}/#/studies/{study['id']}")
    page.locator("#headline").wait_for()


def test_it_is_shown_to_others_by_name_and_by_link(page, browser, service, study):
    home, _, url = service
    opened(page, service, study)
    page.get_by_text("Share it", exact=True).click()
    page.get_by_label("Let another user look at it").fill("grace")
    page.get_by_role("button", name="Share").click()
    page.get_by_text("there is no user 'grace'").wait_for()
    with Database(Settings(home=home).store_url) as database:
        key = create_key(database, "grace")
    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Hide it from grace").wait_for()
    with visitor(browser, url) as other:
        log_in(other, key)
        other.get_by_role("link", name="pairs").click()
        other.get_by_text("shown to you by admin").wait_for()
        other.locator("#headline").wait_for()
        assert other.get_by_role("button", name="Delete").count() == 0
        other.goto(f"{url}/#/studies/nothing")
        other.get_by_text("There is no such study").wait_for()
        check(other, "unknown")


def test_a_link_shows_it_without_an_account_until_it_is_revoked(page, browser, service, study):
    opened(page, service, study)
    page.get_by_text("Share it by a link").click()
    page.get_by_label("Good for").select_option("a week")
    page.get_by_role("button", name="Make a link").click()
    link = page.get_by_label("The link").input_value()
    assert link.startswith(f"{service[2]}/#/shared/")
    with visitor(browser, link) as other:
        other.locator("#headline").wait_for()
        assert other.get_by_role("button", name="Log out").count() == 0
        for name in ("Delete", "More seeds", "Name, note, tags"):
            assert other.get_by_role("button", name=name).count() == 0
        assert "λ-curve" in other.request.get(f"{service[2]}/api/v1{report(other)}").text()
        check(other, "shared")
        page.get_by_role("button", name="Revoke").click()
        page.get_by_role("button", name="Revoke").wait_for(state="detached")
        other.reload()
        other.get_by_text("This link shows nothing").wait_for()


def test_it_is_named_and_found_again(page, service, tmp_path):
    opened(page, service, submit_pairs(service, tmp_path / "pairs.npz"))
    page.get_by_role("button", name="Name, note, tags").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("digits <b>two</b>")
    dialog.get_by_label("Note").fill("the first try")
    dialog.get_by_label("Tags").fill("paper, ablation, paper")
    dialog.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="digits <b>two</b>").wait_for()
    page.get_by_role("link", name="Again with …").click()
    page.get_by_role("heading", name="pairs.npz: 150 pairs").wait_for(timeout=SOON)
    assert page.get_by_label("Epochs").input_value() == "3"
    assert page.get_by_label("Array of A").input_value() == "vision"
    page.go_back()
    page.get_by_role("button", name="Archive").click()
    page.get_by_role("button", name="Unarchive").wait_for()
    page.get_by_role("link", name="Alignment tuner").click()
    page.get_by_role("heading", name="Studies").wait_for()
    page.get_by_label("Search").fill("first try")
    page.get_by_text("No study is like that.").wait_for()
    page.get_by_label("archived ones").check()
    page.get_by_role("link", name="digits <b>two</b>").wait_for()
    page.get_by_role("combobox", name="Tag").select_option("ablation")
    page.reload()  # the address holds what was asked for
    assert page.get_by_label("Search").input_value() == "first try"
    page.get_by_role("link", name="digits <b>two</b>").wait_for()
    check(page, "found")


def test_seeds_are_added_and_studies_compared(page, service, study):
    opened(page, service, study)
    address = page.url
    dialog = page.get_by_role("dialog")
    for seeds, said in (("", "seeds alone would not decide"), ("2", "has 2 confirming seeds")):
        page.get_by_role("button", name="More seeds").click()
        dialog.get_by_label("Confirming seeds in all").fill(seeds)
        dialog.get_by_role("button", name="Train them").click()
        dialog.get_by_text(said).wait_for()
        dialog.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="More seeds").click()
    dialog.get_by_label("Confirming seeds in all").fill("3")
    check(page, "dialog")
    dialog.get_by_role("button", name="Train them").click()
    page.wait_for_url(lambda now: now != address)
    page.get_by_role("button", name="Cancel").click()
    page.locator("#state", has_text="cancelled").wait_for(timeout=STARTS)
    page.get_by_role("link", name="Alignment tuner").click()
    boxes = page.get_by_role("checkbox", name="Compare pairs")
    boxes.nth(1).wait_for()
    for n in range(2):
        boxes.nth(n).check()
    check(page, "list")
    with page.expect_response("**/studies?*"):  # the list has looked again meanwhile
        pass
    page.get_by_role("link", name="Compare 2 studies").click()
    page.get_by_role("heading", name="2 studies compared").wait_for()
    differing = page.locator("tr.differs th").all_inner_texts()
    assert any(text.startswith("verdict") for text in differing)
    assert any(text.startswith("Looks") for text in differing)
    assert not any(text.startswith("Epochs") for text in differing)
    check(page, "compare")
    page.route("**/result", with_settings)
    page.reload()
    page.get_by_role("heading", name="Training settings that").wait_for()
    assert page.locator("path.trial").count() == 3
    check(page, "compare-settings")


def with_settings(route):
    """The answer as of a study that searched training settings, too."""
    answer = route.fetch()
    told = answer.json()
    trials = [
        {"lambda": n / 2, "settings": {"hidden": 8 * 2**n, "temperature": 0.1}, "joint": score}
        for n, score in enumerate(point["joint"] for point in told["curve"][:3])
    ]
    told["nuisance"] = {"mode": "joint", "trials": trials}
    route.fulfill(response=answer, json=told)


def trained_elsewhere(client, name):
    """A study of two targets whose trainings somebody else has told; its model was saved there."""
    study = client.submit_elsewhere("train.py --lam {strength}", "v1", name=name, seed=5)
    saved = Path("/models/run-7")
    train = reporting(
        lambda strength: 0.6 + 0.1 * strength * (2 - strength), noise=0.005, saved=saved
    )

    def trained(request):
        told = train(request)
        loss = {"loss": np.linspace(0.1, 1.1, 400) + 0.1 * request.strength}
        tests = None if told.test_scores is None else told.test_scores | loss
        return replace(told, scores=told.scores | loss, test_scores=tests)

    def is_done():
        asked = client.ask(study["id"], "one")
        if asked["state"] == "train":
            number, seeds = asked["trial"], (asked["seed"],)
            request = TrialRequest(
                phase=asked["phase"], number=number, strength=asked["strength"], seeds=seeds
            )
            client.tell(study["id"], asked["lease"], Told.of(trained(request)))
        return asked["state"] == "done"

    until(is_done, 120.0)
    return study


def test_a_study_that_is_trained_elsewhere_is_shown(page, service, study):
    home, _, url = service
    with client_of(home, url) as client:
        others = trained_elsewhere(client, "clip <b>")
    opened(page, service, others)
    page.get_by_role("heading", name="clip <b>").wait_for()
    assert page.locator(".cards h3").all_text_contents() == ["acc", "loss"]
    figures = page.locator(".curve figure")
    titles = page.locator(".curve figcaption").all_text_contents()
    assert titles == ["acc", "loss", "loss against acc"]
    assert [figures.nth(n).locator(".chart circle").count() for n in range(3)] == [4, 4, 5]
    page.get_by_text("/models/run-7").wait_for()
    page.get_by_text("How it was asked").click()
    page.get_by_text(f"tuner agent {url} {others['id']} -- COMMAND").wait_for()
    page.get_by_text("Every λ that was tried").click()
    for name in ("Again with …", "More seeds"):
        assert page.get_by_text(name).count() == 0
    assert "acc" in page.request.get(f"{url}/api/v1{report(page)}").text()
    check(page, "elsewhere")
    page.goto(f"{url}/#/compare/{others['id']},{study['id']}")
    page.get_by_role("heading", name="2 studies compared").wait_for()


def test_code_that_is_offered_is_trained_from_the_page(page, service):
    home, _, url = service
    log_in(page, (home / "api-key").read_text())
    page.goto(f"{url}/#/new/none")
    page.get_by_text("offers you no training code of the name none").wait_for()
    page.get_by_role("link", name="A new study of a data set").click()
    page.get_by_role("link", name="clip", exact=True).click()
    page.get_by_role("heading", name="New study of clip").wait_for()
    page.get_by_text("Our CLIP on our pictures").wait_for()
    page.get_by_text("A training takes 2 CPUs at most; you may have 1 unfinished study").wait_for()
    page.get_by_text("Everything else").click()
    page.get_by_label("CPUs").fill("3")
    page.get_by_role("button", name="Submit").click()
    assert page.get_by_label("CPUs").get_attribute("aria-invalid") == "true"
    page.get_by_label("CPUs").fill("1")
    page.get_by_label("Subject to").fill("acc >= baseline minus 1")
    page.get_by_role("button", name="Submit").click()
    page.locator("[data-field=subject_to]").get_by_text("is no bound").wait_for()
    page.get_by_label("Subject to").fill("acc >= baseline - .5")
    page.get_by_label("Target").fill("acc:maximize")
    page.get_by_label("Seeds that confirm").fill("4")
    check(page, "form-code")
    page.get_by_role("button", name="Submit").click()
    page.locator("#headline").wait_for(timeout=STARTS)
    assert page.locator("#headline").inner_text().startswith("Align with λ = ")
    page.get_by_text("How it was asked").click()
    assert page.get_by_text("tuner agent").count() == 0  # it is trained here
    check(page, "study-code")
    page.get_by_role("link", name="Again with …").click()
    page.get_by_role("heading", name="again with …").wait_for()
    assert page.get_by_label("Target").input_value() == "acc:maximize"
    assert page.get_by_label("Subject to").input_value() == "acc >= baseline - 0.5"
    assert page.get_by_label("Seeds that confirm").input_value() == "4"


def test_the_keyboard_does_it_all(page, service, study):
    home, _, url = service
    page.locator("#key:focus").wait_for()
    page.keyboard.type((home / "api-key").read_text().strip())
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Studies").wait_for()
    page.goto(f"{url}/#/studies/{study['id']}")
    page.reload()
    page.locator("#headline").wait_for()
    address = page.url
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.url == address
    assert page.evaluate("document.activeElement.id") == "main"
    tab_to(page, "More seeds")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.textContent") == "More seeds"
    tab_to(page, "Every λ that was tried")
    page.keyboard.press("Enter")
    page.get_by_role("region", name="Trials").wait_for()
    tab_to(page, "Log out", key="Shift+Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Log in").wait_for()
    assert page.evaluate("document.activeElement.id") == "key"


def tab_to(page, words, key="Tab"):
    """Press Tab until what is called so has the focus, and is seen to have it."""
    for _ in range(60):
        page.keyboard.press(key)
        if page.evaluate("document.activeElement.textContent") == words:
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            return
    pytest.fail(f"Tab does not lead to {words!r}")
