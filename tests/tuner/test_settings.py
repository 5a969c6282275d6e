"""Settings come from the environment, and only from the variables that are ours to read."""

from pathlib import Path

import pytest

from tuner.settings import Settings

NAMES = ("TUNER_DATABASE_URL", "TUNER_ARTIFACTS", "MLFLOW_TRACKING_URI", "RAY_ADDRESS")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("TUNER_HOME", *NAMES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_studies_are_kept_in_the_working_directory(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "DATABASE_URL", "ARTIFACTS"):  # somebody else's
        monkeypatch.setenv(name, str(bare / "elsewhere"))

    settings = Settings()

    assert settings.folder == bare / ".tuner"
    assert settings.store_url == f"sqlite:///{bare}/.tuner/studies.db"
    assert settings.tracking_uri == f"sqlite:///{bare}/.tuner/mlflow.db"
    assert settings.artifact_location == f"file://{bare}/.tuner/artifacts"
    assert settings.ray_address is None


def test_each_part_can_be_moved(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_HOME", str(bare / "home"))
    for name in NAMES:
        monkeypatch.setenv(name, f"{name}://there")

    settings = Settings()

    assert settings.folder == bare / "home"
    assert settings.store_url == "TUNER_DATABASE_URL://there"
    assert settings.tracking_uri == "MLFLOW_TRACKING_URI://there"
    assert settings.artifact_location == "TUNER_ARTIFACTS://there"
    assert settings.ray_address == "RAY_ADDRESS://there"


def test_weights_lie_with_checkpoints_or_at_home(bare: Path) -> None:
    assert Settings(home=bare, ray_address="auto").weights == f"{bare}/weights"
    there = Settings(home=bare, tuner_checkpoints="s3://kept/states/")
    assert there.weights == "s3://kept/states/weights"


def test_what_lies_under_a_uri_of_uploads_is_for_every_machine(bare: Path) -> None:
    for kept in ("s3://kept/uploads", "s3://kept/uploads/"):
        settings = Settings(home=bare, tuner_uploads=kept)
        assert settings.is_kept("s3://kept/uploads/f.npz")
        assert not settings.is_kept("s3://kept/uploads-of-others/f.npz")
        assert not settings.is_kept("https://elsewhere.example/f.npz")
    assert not Settings(home=bare).is_kept("mfeat")
    assert not Settings(home=bare, tuner_uploads=str(bare)).is_kept(str(bare / "f.npz"))


def test_python_callers_use_the_names_of_the_fields(bare: Path) -> None:
    settings = Settings(home=bare / "x", ray_address="auto", mlflow_tracking_uri="http://m")

    assert (settings.folder, settings.ray_address) == (bare / "x", "auto")
    assert settings.artifact_location is None
