"""Files that are never half there, and folders that go with the last process that claims them."""

import signal
import subprocess
import sys

import pytest

from tuner.data.memory.scratch import Scratch, written_whole


def test_a_file_is_the_old_one_until_all_of_the_new_one_is_written(tmp_path):
    path = tmp_path / "answer.txt"
    for content in ("first", "second"):
        with written_whole(path) as aside, aside.open("w") as file:
            file.write(content[:3])
            file.flush()
            before = path.read_text() if path.exists() else None
            assert before == (None if content == "first" else "first")
            file.write(content[3:])
        assert path.read_text() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_as_it_was_after_a_failure(tmp_path):
    path = tmp_path / "answer.txt"
    path.write_text("old")

    def fail() -> None:
        with written_whole(path) as aside:
            aside.write_text("new")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / "answer.txt"
    with written_whole(path) as one, written_whole(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # whose block ends last
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.integration
def test_a_folder_stays_while_anybody_claims_it_and_goes_after(tmp_path):
    folder = tmp_path / "tuner-rows-x"
    script = (
        "import sys, time; from pathlib import Path\n"
        "from tuner.data.memory.scratch import Scratch\n"
        "claim = Scratch(Path(sys.argv[1])); print('claimed', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"claimed\n"
        (folder / "rows").write_bytes(b"x")
        Scratch(folder).close()
        Scratch(tmp_path / "tuner-rows-y").close()
        assert (folder / "rows").exists()
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert (folder / "rows").exists()
        last = Scratch(tmp_path / "tuner-rows-z")
        assert not folder.exists()
        last.close()
    assert not list(tmp_path.iterdir())
