"""The web page in a real browser, from the login to an encoder that predicts."""

import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tests.support.servers import free_port, mlflow_ui
from tests.tuner.service.conftest import arrays, serving
from tuner.data import read
from tuner.settings import Settings
from tuner.storage.accounts import create_key
from tuner.storage.database import Database

pytestmark = pytest.mark.integration


def report(page):
    href = page.get_by_role("link", name="Report", exact=True).get_attribute("href")
    return href.removeprefix("api/v1")


def test_a_person_submits_watches_and_takes_an_encoder_home(browser, new_home, tmp_path):
    good, bad = tmp_path / "pairs.npz", tmp_path / "bad.npz"
    np.savez(good, **arrays())
    np.savez(bad, **arrays() | {"a": np.full((150, 4), np.nan)})
    home, port = new_home(tmp_path / "home"), free_port()
    with serving(home, TUNER_MLFLOW_URL=f"http://127.0.0.1:{port}") as (_, url):
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        faults = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url)
        page.get_by_label("API key").fill("tk_wrong")
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("this key is unknown, or was revoked").wait_for()
        page.get_by_label("API key").fill((home / "api-key").read_text())
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("None yet.").wait_for()

        page.locator("#file").set_input_files(bad)
        page.get_by_role("button", name="Submit").click()
        page.get_by_text("array 'a' holds 600 NaN").wait_for(timeout=20_000)

        page.get_by_role("button", name="Inspect first").click()
        page.get_by_role("heading", name="bad.npz cannot be used").wait_for(timeout=20_000)
        assert page.get_by_text("array 'a' holds 600 NaN").count() == 1

        page.locator("#file").set_input_files(good)
        page.get_by_role("button", name="Inspect first").click()
        page.get_by_role("heading", name="pairs.npz: 150 pairs").wait_for(timeout=20_000)
        page.get_by_role("cell", name="a: 150 rows of 4 features").wait_for()
        if os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{os.environ['SCREENSHOTS']}/inspection.png", full_page=True)
        page.get_by_label("λs to try").fill("5")
        page.get_by_label("Seeds at each").fill("2")
        page.get_by_text("Other options").click()
        page.get_by_label("As JSON").fill('{"epochs": 3, "hidden": 8, "confirm_replicates": 2}')
        page.get_by_role("button", name="Submit").click()
        page.get_by_role("heading", name="pairs").wait_for(timeout=20_000)
        page.locator("#trials-table tr").first.wait_for(timeout=120_000)
        page.locator(".card .verdict").nth(2).wait_for(timeout=120_000)
        assert page.locator("#state").inner_text() == "done"
        assert page.locator("#warnings p").inner_text().startswith("Still learning after 3 epochs")
        assert page.locator("#trials-table tr").count() == 5
        assert page.locator("#curve canvas").count() == 1
        assert page.get_by_text("Information profile").is_visible()
        address = page.url
        with mlflow_ui(home, port):
            page.get_by_role("link", name="Runs in MLflow").click()
            page.get_by_text("pairs (a + b, 150 pairs)").first.wait_for(timeout=60_000)
            page.get_by_text("pairs-a-encoder").first.wait_for(timeout=60_000)
        page.goto(address)
        page.locator(".card .verdict").nth(2).wait_for()

        with page.expect_download() as download:
            page.get_by_role("link", name="Encoder of A (zip)").click()
        model = tmp_path / "model"
        with zipfile.ZipFile(download.value.path()) as archive:
            archive.extractall(model)

        assert "λ-curve" in page.request.get(f"{url}/api/v1{report(page)}").text()
        shutil.rmtree(home / "reports")  # as where the study ran on another machine
        assert "λ-curve" in page.request.get(f"{url}/api/v1{report(page)}").text()

        page.get_by_label("Let another user look at it").fill("grace")
        page.get_by_role("button", name="Share").click()
        page.get_by_text("there is no user 'grace'").wait_for()
        with Database(Settings(home=home).store_url) as database:
            key = create_key(database, "grace")
        page.get_by_role("button", name="Share").click()
        page.get_by_text("grace may look at it").wait_for()
        other = browser.new_context().new_page()
        other.goto(url)
        other.get_by_label("API key").fill(key)
        other.get_by_role("button", name="Log in").click()
        other.get_by_role("link", name="pairs").click()
        other.get_by_text("shown to you by admin").wait_for()
        other.locator(".card .verdict").nth(2).wait_for()
        assert other.get_by_role("button", name="Delete").count() == 0
        if os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{os.environ['SCREENSHOTS']}/study.png", full_page=True)
            other.screenshot(path=f"{os.environ['SCREENSHOTS']}/shared.png", full_page=True)

        page.set_viewport_size({"width": 375, "height": 800})
        page.wait_for_function("document.documentElement.scrollWidth <= 375", timeout=5000)
        for seeds, said in (
            ("", "seeds alone would not decide it"),
            ("2", "has 2 confirming seeds"),
        ):
            page.once("dialog", lambda dialog, seeds=seeds: dialog.accept(seeds))
            page.get_by_role("button", name="More seeds").click()
            page.get_by_text(said).wait_for()
        page.once("dialog", lambda dialog: dialog.accept("3"))
        page.get_by_role("button", name="More seeds").click()
        page.wait_for_url(lambda now: now != address)
        page.get_by_role("button", name="Cancel").click()
        page.locator("#state", has_text="cancelled").wait_for(timeout=60_000)
        page.get_by_role("link", name="Alignment tuner").click()
        page.get_by_role("link", name="pairs").nth(1).wait_for()
        assert faults == []
    np.save(tmp_path / "rows.npy", read(good).a.values[:7])
    script = (
        "import sys, numpy, mlflow.pyfunc\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(len(model.predict(numpy.load(sys.argv[2]))['prediction']))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(model), str(tmp_path / "rows.npy")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert told.stdout.split()[-1] == "7"
