"""How much contrastive alignment do paired data want? What a user of this package needs.

```python
import tuner

result = tuner.run("my-data.npz", trials=12, seed=1)  # as `tuner run my-data.npz`
result.joint.strength, result.joint.verdict
tuner.plot_curve(result)
```
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.answered import extend
    from tuner.client import Client
    from tuner.data import read
    from tuner.drivers.orchestrator import run, run_study
    from tuner.drivers.tuning import tune
    from tuner.past import expecting, predict
    from tuner.reporting.figures import plot_curve
    from tuner.scripts.trial import Trial, current_trial, report, report_test
    from tuner.settings import Settings
    from tuner.study.result import StudyResult
    from tuner.study.spec import StudySpec
    from tuner.study.study import Study

__all__ = [
    "Client",
    "Settings",
    "Study",
    "StudyResult",
    "StudySpec",
    "Trial",
    "current_trial",
    "expecting",
    "extend",
    "plot_curve",
    "predict",
    "read",
    "report",
    "report_test",
    "run",
    "run_study",
    "tune",
]

_HOME = {
    "Client": "tuner.client",
    "Settings": "tuner.settings",
    "Study": "tuner.study.study",
    "StudyResult": "tuner.study.result",
    "StudySpec": "tuner.study.spec",
    "Trial": "tuner.scripts.trial",
    "current_trial": "tuner.scripts.trial",
    "expecting": "tuner.past",
    "extend": "tuner.answered",
    "plot_curve": "tuner.reporting.figures",
    "predict": "tuner.past",
    "read": "tuner.data",
    "report": "tuner.scripts.trial",
    "report_test": "tuner.scripts.trial",
    "run": "tuner.drivers.orchestrator",
    "run_study": "tuner.drivers.orchestrator",
    "tune": "tuner.drivers.tuning",
}


def __getattr__(name: str) -> Any:
    """Load each where it is asked for: a client needs no torch, a study no HTTP."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
