"""What a machine asks the service: whether it lives, is ready, and how much it does."""

from fastapi import APIRouter, Response

from tuner.service import metrics
from tuner.service.routes.dependencies import DatabaseOf, Store
from tuner.service.routes.problems import PROBLEMS
from tuner.service.schemas import Health

router = APIRouter(tags=["operations"])


@router.get("/health/live", response_model=Health)
def live() -> Health:
    """Tell that the process answers."""
    return Health(status="ok")


@router.get("/health/ready", response_model=Health, responses={503: PROBLEMS[503]})
def ready(database: DatabaseOf) -> Health:
    """Tell whether the database answers, too."""
    database.ping()
    return Health(status="ok")


@router.get("/metrics", response_class=Response)
def prometheus(store: Store) -> Response:
    """Give metrics in Prometheus' text format."""
    content, kind = metrics.exposition(store)
    return Response(content, media_type=kind)
