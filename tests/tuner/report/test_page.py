"""The report: complete, self-contained, and safe whatever a study is called."""

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from tuner.models.config import TrainingConfig
from tuner.report.figures import draw_all, panels
from tuner.report.note import result_note
from tuner.report.page import command, write_report
from tuner.study.result import MlflowLinks, Modalities, RegisteredModel
from tuner.study.spec import StudySpec

HOSTILE = "<script>alert('$x$')</script>"


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


def hostile(study):
    """The study under a hostile name, with registered models."""
    spec = study.study.spec.model_copy(update={"name": HOSTILE})
    sides = {
        side: getattr(study.result.modalities, side).model_copy(
            update={"model": RegisteredModel(name=f"x-{side}", version="3", alias="champion")}
        )
        for side in ("a", "b")
    }
    links = MlflowLinks(tracking_uri="sqlite:///x.db", experiment_id="1", run_id="2")
    update = {"name": HOSTILE, "mlflow": links, "modalities": Modalities(**sides)}
    return dataclasses.replace(
        study,
        study=dataclasses.replace(study.study, spec=spec),
        result=study.result.model_copy(update=update),
    )


@pytest.fixture(scope="module")
def folder(classification, tmp_path_factory):
    study = hostile(classification)
    folder = tmp_path_factory.mktemp("report")
    write_report(study.study, study.result, study.finished, folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


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
    for part in ("align", "do not align", "no detectable effect", "0.05 to 1.5"):
        assert part in page.text
    assert result.dataset.fingerprint in page.text
    assert "mlflow.set_tracking_uri('sqlite:///x.db')" in page.text
    assert "mlflow.pyfunc.load_model('models:/x-a/3')" in page.text
    assert "Trials that failed" in page.text
    for point in result.curve:
        assert f"{point.a.mean:.4f}" in page.text


def test_images_are_described(page):
    assert page.elements.count("img") == 4
    assert len(re.findall(r'alt="λ-curve of [^"]+"', page.html)) == 3
    assert len(re.findall(r'alt="Similarity of the two [^"]+ at λ = 4\."', page.html)) == 1


def test_the_figure_is_a_png(folder):
    assert (folder / "lambda_curve.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_it_is_the_same_every_time(classification, folder, tmp_path):
    study = hostile(classification)
    write_report(study.study, study.result, study.finished, tmp_path)
    for name in ("report.html", "lambda_curve.png"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_loss_is_drawn_in_its_own_units(regression):
    study = regression.study
    shown = panels(study, regression.result, regression.finished)
    baseline = next(t for t in regression.finished if t.request.strength == 0)
    scores = study.validation.scores(baseline.outcome.predictions, "a")
    assert shown[0].baseline == pytest.approx(scores.mean())
    assert shown[0].mean[0] == pytest.approx(scores.mean())
    assert (shown[0].low <= shown[0].high).all()


def test_round_strengths_are_labelled(classification):
    study = classification
    shown = panels(study.study, study.result, study.finished)
    axis = draw_all(study.study, study.result, shown, None).axes[0]
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert labels[0] == "0"
    assert labels[-1] == "4"
    assert {"0.2", "0.5", "1"} <= set(labels)


def test_the_command_repeats_the_question():
    assert command(StudySpec()) == "tuner run DATA"
    training = TrainingConfig(encoder_a="cnn", temperature=0.5, batch_size=64)
    spec = StudySpec(
        name="it's", trials=30, confirm_replicates=4, max_lambda=2.0, seed=3, training=training
    )
    expected = (
        "tuner run DATA --name 'it'\"'\"'s' --trials 30 --confirm-replicates 4 --max-lambda 2.0 "
        "--seed 3 --encoder-a cnn --temperature 0.5 --batch-size 64"
    )
    assert command(spec) == expected


def test_the_note_keeps_names_out_of_markup(classification):
    note = result_note(hostile(classification).result)
    assert "<script>" not in note
    assert "](#/models/x-a/versions/3), alias `champion`" in note
