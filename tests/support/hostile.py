"""A study whose name is an attack on the pages that show it."""

import dataclasses

from tuner.study.answer import Modalities, RegisteredModel
from tuner.study.result import MlflowLinks

HOSTILE = "<script>alert('$x$')</script>"


def hostile(study):
    """The small study under a hostile name, with registered models."""
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
