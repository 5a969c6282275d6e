"""What a machine asks the service: whether it lives, is ready, and how much it does."""

from fastapi import APIRouter, Request, Response
from sqlalchemy import text

from tuner.service import metrics
from tuner.service.routes.problems import PROBLEMS
from tuner.service.schemas import Health
from tuner.storage.studies import StudyStore

router = APIRouter(tags=["operations"])


@router.get("/health/live", response_model=Health)
def live() -> Health:
    """Tell that the process answers."""
    return Health(status="ok")


@router.get("/health/ready", response_model=Health, responses={503: PROBLEMS[503]})
def ready(request: Request) -> Health:
    """Tell whether the database answers, too."""
    store: StudyStore = request.app.state.store
    with store.session() as session:
        session.execute(text("SELECT 1"))
    return Health(status="ok")


@router.get("/metrics", response_class=Response)
def prometheus(request: Request) -> Response:
    """Give metrics in Prometheus' text format."""
    content, kind = metrics.exposition(request.app.state.store)
    return Response(content, media_type=kind)
