"""What notebooks show: complete, escaped, and nothing outside of one."""

import sys
from html.parser import HTMLParser
from types import ModuleType, SimpleNamespace

from tuner.study.notebook import progress_html, result_html, show_progress
from tuner.study.progress import Progress

PROGRESS = Progress(
    phase="confirm",
    done=7,
    total=10,
    share=0.6,
    failed=1,
    best=(0.25, 0.9),
    point=None,
    seconds_left=75.0,
    training_seconds=60.0,
)


class Page(HTMLParser):
    """Reads HTML: its tags, which have to be closed in order, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_result_shows_its_answers_and_its_curve(classification):
    hostile = {"headline": "Keep <script>alert(1)</script> & λ = 0", "warnings": ("<b>", "two")}
    page = Page(classification.result.model_copy(update=hostile)._repr_html_())
    names = [tag for tag, _ in page.tags]
    assert "script" not in names
    assert hostile["headline"] in page.text
    assert "<b>" in page.text
    assert names.count("circle") == len(classification.result.curve)
    for words in ("undecided", "align", "do not align", "[0, 4]", "+0.0010", "[-0.0200, +0.0220]"):
        assert words in page.text, words
    inside = [attrs for tag, attrs in page.tags if tag == "circle"]
    assert all(0 <= float(each["cx"]) <= 360 and 0 <= float(each["cy"]) <= 150 for each in inside)
    xs = [float(each["cx"]) for each in inside]
    assert xs == sorted(xs)  # the curve's order


def test_a_curve_of_one_point_is_left_out(classification):
    alone = classification.result.model_copy(update={"curve": classification.result.curve[:1]})
    assert "svg" not in result_html(alone)
    assert "<table>" in result_html(alone)


def test_progress_is_a_line():
    page = Page(progress_html(PROGRESS))
    assert page.tags[1] == ("progress", {"value": "0.600", "max": "1"})
    assert page.text.strip() == (
        "confirmation, 7 of 10 trials, best so far λ = 0.25, 1 failed, about 1:15 left"
    )


def test_progress_is_shown_in_a_notebook_and_nowhere_else(monkeypatch):
    shown = []
    handle = SimpleNamespace(update=shown.append)

    def display(content, *, display_id):
        assert display_id
        shown.append(content)
        return handle

    module, shell = ModuleType("IPython"), SimpleNamespace()
    module.get_ipython = lambda: shell
    module.display = SimpleNamespace(display=display, HTML=str)
    monkeypatch.setitem(sys.modules, "IPython", module)
    show_progress()(PROGRESS)  # a terminal: it has no kernel
    assert shown == []
    shell.kernel = object()
    report = show_progress()
    report(PROGRESS)
    assert shown == ["<p>starting workers</p>", progress_html(PROGRESS)]
    monkeypatch.delitem(sys.modules, "IPython")
    show_progress()(PROGRESS)
    assert len(shown) == 2
