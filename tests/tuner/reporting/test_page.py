"""The report: complete, self-contained, and safe whatever a study is called."""

import re
from html.parser import HTMLParser

import pytest
import torch

from tests.support.hostile import HOSTILE, hostile
from tuner.analysis.conclusion import curve
from tuner.models.compute.device import described
from tuner.reporting.page import write_report
from tuner.reporting.wording import guess_words
from tuner.study.result import GroupCounts, Guess, GuessComparison

pytestmark = pytest.mark.slow  # figures are drawn


class Page(HTMLParser):
    """Elements, addresses and text of a page; every element that opens is closed."""

    def __init__(self, html):
        super().__init__()
        self.html, self.open, self.elements, self.addresses, self.text = html, [], [], [], ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "href", "srcset")]
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def folder(classification, tmp_path_factory):
    study = hostile(classification)
    folder = tmp_path_factory.mktemp("report")
    write_report(study.study, study.result, study.finished, folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_what_to_know_before_it_is_used_is_below_the_headline(classification, tmp_path):
    words = f"Still learning at λ = 4 <{HOSTILE}"
    trained = {"device": "cuda", "gpu": HOSTILE, "precision": "bfloat16", "torch": "2.13.0"}
    trained |= {"cuda": "13.0", "tf32": "off", "deterministic": "no: put_ cannot be"}
    update = {
        "warnings": (words,),
        "environments": (trained, described(torch.device("cpu"), "auto", [])),
    }
    result = classification.result.model_copy(update=update)
    write_report(classification.study, result, classification.finished, tmp_path)
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert text.index("Undecided, keep λ = 0") < text.index(words) < text.index("Modality A")
    assert f"CPU, float32, torch {torch.__version__}; the same bits each time: yes" in text
    assert f"{HOSTILE}, bfloat16, torch 2.13.0, CUDA 13.0, TF32 off; the same bits" in text


def test_it_needs_no_network(page):
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)
    assert "script" not in page.elements
    assert "link" not in page.elements
    assert "url(" not in page.html
    assert "@import" not in page.html


def test_what_users_write_is_text(page, classification):
    assert HOSTILE in page.text
    assert "a loss became inf & <b>worse</b>" in page.text
    assert "b" not in page.elements


def test_it_says_what_was_found(page, classification):
    result = classification.result
    for part in ("align", "do not align", "undecided", "0.05 to 1.5"):
        assert part in page.text
    assert result.dataset.fingerprint in page.text
    assert "mlflow.set_tracking_uri('sqlite:///x.db')" in page.text
    assert "mlflow.pyfunc.load_model('models:/x-a/3')" in page.text
    assert "Trials that failed" in page.text
    for point in result.curve:
        assert f"{point.a.mean:.4f}" in page.text


def test_images_are_described(page):
    assert page.elements.count("img") == 5  # three curves, the trade-off, the similarity
    assert len(re.findall(r'alt="λ-curve of [^"]+"', page.html)) == 3
    assert len(re.findall(r'alt="Similarity of the two [^"]+ at λ = 4\."', page.html)) == 1


def test_similarity_is_told_beyond_chance(classification, tmp_path):
    study, finished = classification.study, classification.finished
    points = curve(study.validation, finished)
    result = classification.result.model_copy(update={"curve": points})
    write_report(study, result, finished, tmp_path)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "below the dotted lines" in page.text
    assert "SVCCA beyond chance" in page.text
    assert "come in groups" not in page.text
    for point in points:
        told = point.calibrated.svcca
        assert f"{told.value:.3f} p = {told.p:.3f}" in page.text
    plain, beyond = points[0].similarity.cka, points[0].calibrated.cka.value
    described = f"CKA from {plain:.2f} ({beyond:.2f} beyond chance) at λ = 0"
    assert described in page.html


def test_the_figure_is_a_png(folder):
    assert (folder / "lambda_curve.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_it_is_the_same_every_time(classification, folder, tmp_path):
    study = hostile(classification)
    write_report(study.study, study.result, study.finished, tmp_path)
    for name in ("report.html", "lambda_curve.png"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


@pytest.fixture(scope="module")
def poor(classification):
    """An answer that says all that may be wrong with one."""
    result = classification.result
    compared = GuessComparison(score=0.4, skill=-0.1, gain_interval=(-0.2, 0.1))
    groups = GroupCounts(train=40, validation=9, test=1)
    return result.model_copy(
        update={
            "guess": Guess(label="<gelbe>", score=0.45, a=None, b=compared),
            "dataset": result.dataset.model_copy(update={"groups": groups}),
            "joint": result.joint.model_copy(update={"gain_interval": None}),
        }
    )


@pytest.fixture(scope="module")
def poor_page(classification, poor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("poor")
    write_report(classification.study, poor, classification.finished, folder)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_an_encoder_that_is_no_better_than_a_guess_is_told(poor, poor_page):
    (words,) = guess_words(poor)
    assert words.startswith("Encoder B is no better than always guessing '<gelbe>'")
    assert words in poor_page.text


def test_groups_are_told_and_a_gain_without_an_interval(poor_page):
    words = " ".join(poor_page.text.split())
    assert "cover both seeds and groups" in words
    assert "groups of validation rows: 9, of test rows: 1" in words
    assert "of labelled rows: training 40; validation 9; test 1" in words
    assert "though they come in groups: p is smaller than it should be" in words
    assert "no interval: test rows are of too few groups" in words
