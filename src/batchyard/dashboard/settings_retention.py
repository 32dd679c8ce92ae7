"""For how many days the team keeps what; on the page of its limits."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from batchyard.dashboard.forms import read_fields
from batchyard.dashboard.frame import go_to
from batchyard.dashboard.settings_frame import ADMIN
from batchyard.dashboard.settings_limits import RETENTION, limits_page
from batchyard.dashboard.visitors import Visitor
from batchyard.errors import InvalidRequest
from batchyard.operations import retention
from batchyard.operations.retention import DEFAULT_DAYS, LEAST_DAYS, MOST_DAYS

router = APIRouter(prefix="/settings/retention")


@router.post("")
async def change_days(request: Request, visitor: Annotated[Visitor, Depends(ADMIN)]) -> Response:
    """Change for how many days the team keeps what; an empty field takes the default.

    What was not typed anew stays as it is by now, whoever changed it since the page was shown.
    """
    fields = await read_fields(request)
    given = {
        name: fields.whole(name, least=LEAST_DAYS, most=MOST_DAYS[name])
        for name in DEFAULT_DAYS
        if fields.texts(name) and fields.texts(name) != fields.texts(f"was_{name}")
    }
    try:
        fields.check()
    except InvalidRequest as error:
        return await limits_page(
            request, visitor, typed={RETENTION: fields}, faults=error.faults, status=422
        )
    if given:
        await retention.change_days(visitor.db, team=visitor.team, actor=visitor.actor, days=given)
    notice = visitor.voice.say("The days are set; what is older is removed within minutes.")
    return go_to("/settings/limits", visitor.config, notice=notice)
