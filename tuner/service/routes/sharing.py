"""Who else may see a study, over the REST API."""

from typing import Annotated

from fastapi import APIRouter, Path

from tuner.service.routes.dependencies import Mine, Own, SubmissionsOf, Writer
from tuner.service.routes.problems import OF_A_STUDY, ProblemError
from tuner.service.schemas import Sharing

router = APIRouter(tags=["studies"])
User = Annotated[str, Path(max_length=64, pattern=r"^[^\x00]+$", description="a name")]


@router.get("/studies/{id}/shares", response_model=Sharing, responses=OF_A_STUDY)
def get_shares(submissions: SubmissionsOf, mine: Mine) -> Sharing:
    """Tell who else may see a study."""
    return Sharing(shared_with=submissions.shared_with(mine.id))


@router.put("/studies/{id}/shares/{user}", response_model=Sharing, responses=OF_A_STUDY)
def share(submissions: SubmissionsOf, caller: Writer, mine: Own, user: User) -> Sharing:
    """Let another user see a study, its answer and its encoders."""
    if not submissions.share(caller.user, mine.id, user):
        raise ProblemError(404, f"there is no user {user!r}")
    return get_shares(submissions, mine)


@router.delete("/studies/{id}/shares/{user}", response_model=Sharing, responses=OF_A_STUDY)
def unshare(submissions: SubmissionsOf, caller: Writer, mine: Own, user: User) -> Sharing:
    """Show a study to another user no more."""
    submissions.unshare(caller.user, mine.id, user)
    return get_shares(submissions, mine)
