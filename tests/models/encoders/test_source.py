"""Other code is another question, in whatever module of the user's it lies; none of it is run."""

import hashlib
import sys

import pytest

from tuner.models.encoders.source import source_digest
from tuner.models.errors import EncoderModuleError

PROJECT = {
    "nets.py": """
        import json, torch.nn.functional as F
        from blocks import Block
        import pkg.heads.linear
        def Net(shape, embedding):
            from late import scale
            import importlib
            importlib.import_module("spelled")
            raise RuntimeError("it was run")
    """,
    "blocks.py": "import nets\nimport constants\nraise RuntimeError('it was run')",
    "constants.py": "WIDTH = 3",
    "late.py": "scale = 2",
    "spelled.py": "",
    "pkg/__init__.py": "raise RuntimeError('it was run')",
    "pkg/heads/linear.py": "from ..norms import norm\nfrom . import sibling\nfrom .. import shared",
    "pkg/heads/sibling.py": "",
    "pkg/norms.py": "def norm(): ...",
    "pkg/shared.py": "",
    "unrelated.py": "x = 1",
    "pkg/unrelated.py": "x = 1",
}
UNRELATED = {"unrelated.py", "pkg/unrelated.py"}
OWN = {name.removesuffix(".py").partition("/")[0] for name in PROJECT}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder that is looked in, whose modules nobody has loaded."""
    monkeypatch.syspath_prepend(tmp_path)
    for name, code in PROJECT.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = code.splitlines()
        file.write_text("\n".join(line.removeprefix("        ") for line in lines))
    before = set(sys.modules)
    yield tmp_path
    assert not {name.partition(".")[0] for name in set(sys.modules) - before} & OWN


@pytest.mark.parametrize("name", PROJECT)
def test_an_edited_module_is_another_question_if_it_is_imported(project, name):
    before = source_digest("nets:Net")
    assert source_digest("nets:Net") == before
    with (project / name).open("a") as file:
        file.write("\n# edited")
    assert (source_digest("nets:Net") == before) == (name in UNRELATED)


def test_a_module_alone_is_known_by_its_own_digest(project):
    """As it was when other modules were not looked at: studies of then are found again."""
    expected = hashlib.sha256((project / "late.py").read_bytes()).hexdigest()
    assert source_digest("late:scale") == expected


def test_a_module_in_a_package_is_found(project):
    before = source_digest("pkg.heads.linear:norm")
    (project / "pkg" / "norms.py").write_text("def norm(): return 1")
    assert source_digest("pkg.heads.linear:norm") != before


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("absent:Net", "cannot find the file of 'absent'; it has to lie in the working directory"),
        ("pkg.absent:Net", "cannot find the file of 'pkg.absent'"),
        ("broken:Net", r"encoder broken:Net: .*typo.py cannot be read as Python: .*line 2"),
    ],
)
def test_what_cannot_be_read_is_named(project, kind, words):
    (project / "broken.py").write_text("import typo")
    (project / "typo.py").write_text("x = 1\ny = = 2")
    with pytest.raises(EncoderModuleError, match=words):
        source_digest(kind)
