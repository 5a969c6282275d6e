"""What a machine asks the service: whether it lives, is ready, and how much it does."""

from fastapi import APIRouter, Response

from tuner.service import metrics
from tuner.service.problems import PROBLEMS
from tuner.service.routes.dependencies import DatabaseOf, Store, SupervisorOf
from tuner.service.schemas import Health

router = APIRouter(tags=["operations"])


@router.get("/health/live", response_model=Health, response_model_exclude_defaults=True)
def live() -> Health:
    """Tell that the process answers."""
    return Health(status="ok")


@router.get(
    "/health/ready",
    response_model=Health,
    response_model_exclude_defaults=True,
    responses={503: PROBLEMS[503]},
)
def ready(database: DatabaseOf, supervisor: SupervisorOf) -> Health:
    """Tell whether the database answers, too, and which of the service's tasks are in trouble."""
    database.ping()
    troubles = supervisor.troubles
    return Health(status="degraded" if troubles else "ok", tasks=troubles)


@router.get("/metrics", response_class=Response)
def prometheus(store: Store, supervisor: SupervisorOf) -> Response:
    """Give metrics in Prometheus' text format."""
    content, kind = metrics.exposition(store, supervisor.tasks)
    return Response(content, media_type=kind)
