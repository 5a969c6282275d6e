"""The studies of this machine's store, as a service tells its own: see `tuner.client.Client`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tuner.errors import SpecError
from tuner.settings import Settings

if TYPE_CHECKING:
    from tuner.storage.studies import StudyStore
    from tuner.storage.tables import StudyRow
    from tuner.study.result import StudyResult
    from tuner.study.scripts.result import ScriptResult

_SHOWN = 5  # studies that there are, where there is none of an id


class LocalStudies(AbstractContextManager["LocalStudies"]):
    """The studies in the store that the settings name.

    Args:
        settings: Where things are kept.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: StudyStore | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.database.close()

    def list(self, *, status: str | None = None, name: str | None = None) -> Iterator[Any]:
        """Yield the studies that there are, the latest first, as `Client.list` does."""
        if not self._is_there():
            return
        for row, trials in self._store().listed(status=status, name=name):
            yield _view(row, trials)

    def status(self, study: str) -> dict[str, Any]:
        """Tell how a study stands.

        Raises:
            SpecError: If there is no such study: with those that there are.
        """
        row = self._row(study)
        return _view(row, self._store().trained(row.id))

    def result(self, study: str, *, wait: bool = False) -> "StudyResult | ScriptResult":
        """Return the answer of a study.

        Raises:
            SpecError: If there is none.
        """
        from tuner.study.scripts.result import answer_of

        row = self._row(study)
        if row.result is None:
            hint = " --wait waits for studies of a service alone." if wait else ""
            reason = f": {row.error}" if row.error else ""
            raise SpecError(f"study {row.id} has no answer: it is {row.status}{reason}.{hint}")
        return answer_of(row.result)

    def report(self, study: str, out: Path | None = None) -> Path:
        """Return the report of a study, made again if it is not there.

        Raises:
            SpecError: If there is no answer, or the data are gone that it is made of.
        """
        row = self._row(study)
        answer = self.result(row.id)
        place = self._settings.reports(row.id) / "report.html"
        if not place.is_file():
            place = self._report_again(row.id, answer)
        if out is None:
            return place
        out.write_bytes(place.read_bytes())
        return out

    def _report_again(self, study: str, answer: "StudyResult | ScriptResult") -> Path:
        from tuner.study.scripts.result import ScriptResult

        if isinstance(answer, ScriptResult):
            from tuner.reporting.scripts import write_script_report

            return write_script_report(answer, self._settings.reports(study))
        from tuner.answered import report_again

        return report_again(study, self._settings)

    def _row(self, study: str) -> "StudyRow":
        row = self._store().find(study) if self._is_there() else None
        if row is not None:
            return row
        known = [f"{each['study']} ({each['name']})" for each in self.list()][: _SHOWN + 1]
        more = " and others" if len(known) > _SHOWN else ""
        there = f"there are {', '.join(known[:_SHOWN])}{more}" if known else "there is none"
        raise SpecError(
            f"there is no study {study!r} in {self._settings.home}: {there}. For those of a "
            "service set TUNER_URL, or use --url."
        )

    def _is_there(self) -> bool:
        """Whether there is a store: to look must not make one."""
        settings = self._settings
        home = settings.home.expanduser()
        return settings.database_url is not None or (home / "studies.db").is_file()

    def _store(self) -> "StudyStore":
        from tuner.storage.database import Database
        from tuner.storage.studies import StudyStore

        if self._opened is None:
            self._opened = StudyStore(Database(self._settings.store_url))
        return self._opened


def _view(row: "StudyRow", trials: int) -> dict[str, Any]:
    """Tell of a study what a service tells of one: see `tuner.service.schemas.StudyView`."""
    from tuner.study.answer import verdict_of_today

    result = row.result if row.status == "done" and row.result else {}
    answer = result.get("joint") or {}
    metric = (result.get("metric") or {}).get("name")
    gain, interval = answer.get("gain"), answer.get("gain_interval")
    if "targets" in result:  # of training code
        metric = result["main"]
        answer = result["targets"][metric]
        gain, interval = answer["test"]["gain"], answer["test"]["gain_interval"]
    return {
        "id": row.id,
        "study": row.id,
        "name": row.name,
        "status": row.status,
        "error": row.error,
        "fingerprint": row.fingerprint,
        "spec": row.spec,
        "options": row.run_options,
        "trials": trials,
        "lambda": answer.get("lambda"),
        "verdict": verdict_of_today(answer["verdict"]) if "verdict" in answer else None,
        "headline": result.get("headline"),
        "interval": answer.get("interval"),
        "gain": gain,
        "gain_interval": interval,
        "metric": metric,
        "created": row.created.isoformat(),
    }
