"""What the pages say is so: snippets run, commands parse, and links and paths lead somewhere."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tuner import Study, StudySpec, Trial, read
from tuner.cli.main import app
from tuner.models.config import TrainingConfig
from tuner.scripts.script import Script
from tuner.scripts.training import run_training
from tuner.settings import Settings

ROOT = Path(__file__).parents[1]
FOLDERS = ("data", "models", "tuner", "tests", "deploy")
PAGES = sorted([*ROOT.glob("*.md"), *(p for f in FOLDERS for p in (ROOT / f).rglob("*.md"))])
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
SMALL = "trials=3, replicates=2, confirm_replicates=2"  # in place of trials=12 in snippets

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def without_blocks(page):
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def code(page):
    """All that is set as code: spans, and the lines of blocks without their comments."""
    lines = "".join(blocks(page, r"\w*")).splitlines()
    spans = re.findall(r"`([^`]+)`", without_blocks(page).replace("\n", " "))
    return [*spans, *(line.partition("  #")[0].strip() for line in lines)]


def commands(page):
    """Every command of ours, in words; without the words of another after `--`."""
    for line in code(page):
        if line.startswith("tuner "):
            synopsis = line.removeprefix("tuner ").split(" | ")  # tuner list | status ID
            yield from (part.partition(" -- ")[0].split() for part in synopsis)


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_one_screen():
    lines = README.read_text().splitlines()
    assert len(lines) <= 95
    assert max(map(len, lines)) <= 100


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", without_blocks(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@each_page
def test_paths_and_modules_are_there(page):
    for words in code(page):
        if re.fullmatch(rf"({'|'.join(FOLDERS)}|\.ci)/[\w./-]*", words):
            made = words.startswith("deploy/secrets")  # by deploy/secrets.sh
            assert made or (ROOT / words).exists(), words
        for module in re.findall(r"python -m (tests[\w.]*)", words):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@each_page
def test_make_knows_its_targets(page):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in code(page):
        if match := re.match(r"make ([\w-]+)", words):
            assert match[1] in targets


@pytest.mark.parametrize(
    "words",
    [words for page in PAGES if page.name == "README.md" for words in commands(page)],
    ids=" ".join,
)
def test_commands_and_their_options_are_there(words):
    command = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    assert not hasattr(command, "commands"), words
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word for word in words if re.match("--?[a-z]", word)} <= options


def test_settings_are_those_of_the_program():
    fields = Settings.model_fields.items()
    ours = {(field.validation_alias or f"tuner_{name}").upper() for name, field in fields}
    told = (ROOT / "deploy" / "README.md").read_text()
    assert {name for name in ours if f"`{name}`" not in told} == set()
    of_others = {"TUNER_URL", "TUNER_API_KEY", *Trial(strength=0, seed=0).to_environment()}
    for page in PAGES:
        assert set(re.findall(r"\bTUNER_[A-Z_]+\b", page.read_text())) <= ours | of_others


@pytest.mark.parametrize("package", ["tuner", "models", "data"])
def test_the_floors_are_those_of_the_contracts(package):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (c for c in contracts["contracts"] if c["name"] == f"The floors of {package}")
    held = [set(layer.split(" | ")) for layer in contract["layers"]]
    heading = "room" if package == "tuner" else f"`{package}/`"
    table = CONTRIBUTING.read_text().split(f"| floor | {heading} |")[1].split("\n\n")[0]
    told = {}
    for floor, names in re.findall(r"^\| (\d+) \| (.*?) \|", table, re.MULTILINE):
        found = re.findall(r"`(\w+)(?:/|\.py)`", names)
        told.setdefault(int(floor), set()).update(found)
    assert list(told) == sorted(told, reverse=True)
    assert list(told.values()) == [h for h in held if not h & {"models", "data"}]


def test_names_to_add_to_are_where_contributing_says():
    places = re.findall(r"`([\w.]+)` of `([\w./]+)`", CONTRIBUTING.read_text())
    assert len(places) > 5
    for name, path in places:
        assert name in (ROOT / path).read_text()


@pytest.mark.parametrize("page", [README, ROOT / "data" / "README.md"], ids=["readme", "data"])
def test_data_made_of_arrays_are_valid(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(blocks(page, "python")[0], {})
    (inspect,) = (words for words in commands(page) if words[0] == "inspect" and words[1:])
    told = CliRunner().invoke(app, ["validate", *inspect[1:]])
    assert told.exit_code == 0, told.output
    assert "600 pairs" in told.output
    assert "every row has a label" in " ".join(told.output.split())


def test_an_encoder_of_ones_own_is_taken(tmp_path, monkeypatch):
    page = ROOT / "models" / "README.md"
    (tmp_path / "my_encoders.py").write_text(blocks(page, "python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    (words,) = (words for words in commands(page) if "my_encoders:wide" in words)
    training = TrainingConfig(encoder_a=words[words.index("--encoder-a") + 1])
    study = Study.of(StudySpec(training=training), read("mfeat"))
    assert study.training.encoder_a == "my_encoders:wide"


@pytest.mark.integration
def test_a_training_of_ones_own_is_run(tmp_path):
    (function,) = blocks(ROOT / "tuner" / "scripts" / "README.md", "python")
    (tmp_path / "my_train.py").write_text(function)
    script = Script.of_function("my_train:train", tmp_path)
    reported = run_training(script, strength=1, seed=1, confirming=True, folder=tmp_path / "0")
    assert reported.validation.rows("acc") == 400
    assert reported.test is not None
    assert reported.test.rows("acc") == 500


@pytest.mark.system
def test_python_snippets_run(tmp_path):
    """Those of the README, of the studies and of a registered encoder, one after the other.

    All ask one question, which is trained once and then answered from the store.
    """
    make, run = blocks(README, "python")
    load = blocks(ROOT / "models" / "README.md", "python")[1].replace("mfeat", "my-data")
    studies = blocks(ROOT / "tuner" / "README.md", "python")
    shown = "print(result.frame().shape, answer['embedding'].shape)"
    x = "x = a.astype('float32')"
    script = "\n".join([make, run, *studies, x, load, shown])
    for ours, smaller in ((", seed=1", ""), ("elsewhere", ".tuner"), ("trials=12", SMALL)):
        script = script.replace(ours, smaller)
    environment = {name: v for name, v in os.environ.items() if name != "TUNER_HOME"}
    told = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1] == "(3, 20) (600, 64)"
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / ".tuner" / "reports").iterdir())) == 1
