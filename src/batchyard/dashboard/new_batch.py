"""A new batch: look at a file, say what its columns mean, bring it in; it starts later, by hand."""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from batchyard.dashboard.frame import Place, frame_of, put_notice
from batchyard.dashboard.remarks import Remark, read_remarks, tell_remarks
from batchyard.dashboard.visitors import PREFIX, WRITE, Visitor
from batchyard.errors import InvalidRequest, NotFound
from batchyard.intake.choices import Duplicates, RowPolicy
from batchyard.intake.columns import NEEDED, fold_name, with_plain_lines
from batchyard.intake.file_forms import FileForm
from batchyard.intake.flat import list_columns
from batchyard.intake.options import IntakeOptions, UploadReport
from batchyard.intake.synonyms import SYNONYMS
from batchyard.intake.verdicts import REFUSALS, WARNINGS
from batchyard.models import Kind
from batchyard.operations import agents, imports, mappings
from batchyard.operations.audit import note
from batchyard.operations.imports import BatchSettings, CallSettings, ShipmentSettings
from batchyard.operations.previews import preview_file
from batchyard.store.db import Connection
from batchyard.store.ids import new_id

PLACE = Place(name="New batch", path="/new", icon="new", scopes=("batches:write",))
LOOK_BYTES = 32 * 1024 * 1024
"""A text is looked at by its beginning; a spreadsheet is sent whole."""
LEFT_OUT = "-"
DELIMITERS: Mapping[str, str] = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
DUPLICATES: Mapping[str, str] = {
    Duplicates.KEEP: "Keep them, with a remark",
    Duplicates.SKIP: "Leave them out",
    Duplicates.REFUSE: "Refuse them",
}
POLICIES: Mapping[str, str] = {
    RowPolicy.GOOD_ROWS: "Take the good rows; the others can be corrected",
    RowPolicy.ALL_OR_NOTHING: "Take none unless all are good",
}
ENCODINGS: Mapping[str, str] = {
    "utf-8": "UTF-8",
    "windows-1252": "Western European",
    "windows-1250": "Central European",
    "windows-1251": "Cyrillic",
    "windows-1253": "Greek",
    "windows-1254": "Turkish",
    "windows-1255": "Hebrew",
    "windows-1256": "Arabic",
    "windows-1257": "Baltic",
    "shift_jis": "Japanese",
    "gb18030": "Chinese",
    "euc_kr": "Korean",
}
"""Those that spreadsheets save texts in; the commands and the API take more."""
NEW_AGENT = "new"

Choice = TypeVar("Choice", RowPolicy, Duplicates)

router = APIRouter(prefix="/new")


@router.get("")
async def show_new(request: Request, visitor: Annotated[Visitor, WRITE]) -> Response:
    """Show where a file is dropped."""
    return frame_of(request).page(
        request,
        visitor,
        "new_batch.html",
        agents=await agents.list_agents(visitor.db, team=visitor.team),
        new_agent=NEW_AGENT,
        duplicates=DUPLICATES,
        policies=POLICIES,
    )


@router.post("/look")
async def look(request: Request, visitor: Annotated[Visitor, WRITE]) -> Response:
    """Say what a file is by its beginning, and what its columns seem to mean; nothing is kept."""
    form = _form(request, limit=LOOK_BYTES)
    fields = await form.read_fields()
    kind = _kind(fields)
    beginning = b"".join([chunk async for chunk in form.chunks()])
    found = await preview_file(
        visitor.db,
        team=visitor.team,
        kind=kind,
        beginning=beginning,
        is_whole="is_whole" in fields,
        given=read_mapping(kind, fields),
        encoding=fields.get("encoding") or None,
        refuses_unassigned=visitor.config.phone_check == "valid",
    )
    html = frame_of(request).piece(
        visitor,
        "new_look.html",
        found=found,
        kind=kind,
        meanings=meanings(kind),
        needed=NEEDED[kind],
        delimiters=DELIMITERS,
        encodings=ENCODINGS,
        encoding=fields.get("encoding"),
        verdicts=REFUSALS,
        left_out=LEFT_OUT,
    )
    return HTMLResponse(html)


@router.post("/upload")
async def upload(request: Request, visitor: Annotated[Visitor, WRITE]) -> Response:
    """Bring a file in; whoever leaves before it is complete leaves nothing behind."""
    form = _form(request, limit=visitor.config.max_upload_bytes)
    fields = await form.read_fields()
    kind = _kind(fields)
    settings = await _settings(visitor, kind, fields, file_name=form.file_name)
    length = request.headers.get("content-length", "")
    options = IntakeOptions(
        columns=await mappings.find_columns(
            visitor.db, team=visitor.team, kind=kind, given=read_mapping(kind, fields)
        ),
        encoding=fields.get("encoding") or None,
        policy=_choice(RowPolicy, fields, "policy"),
        duplicates=_choice(Duplicates, fields, "duplicates"),
        recent=_choice(Duplicates, fields, "recent"),
        refuses_unassigned=visitor.config.phone_check == "valid",
        refuses_same_file=visitor.config.refuse_same_file,
        total_bytes=int(length) if length.isdecimal() else None,
        upload_id=_upload_id(fields),
    )
    async with imports.import_file(visitor.db, team=visitor.team, options=options) as incoming:
        async for chunk in form.chunks():
            await incoming.feed(chunk)
        await incoming.finish_file()

        async def seal(conn: Connection) -> None:
            report = incoming.report()
            if isinstance(settings, CallSettings) and incoming.new_agent is not None:
                await note(
                    conn,
                    team=visitor.team,
                    actor=visitor.actor,
                    action="agent.create",
                    subject=str(settings.agent_id),
                    after={"name": incoming.new_agent},
                    now=visitor.db.clock(),
                )
            await note(
                conn,
                team=visitor.team,
                actor=visitor.actor,
                action="batch.create",
                subject=str(incoming.batch_id),
                after={
                    "rows": report.rows,
                    "accepted": report.accepted,
                    "refused": report.refused,
                },
                now=visitor.db.clock(),
            )

        await incoming.open(settings, seal=seal)
        report = incoming.report()
    answer = Response(status_code=204, headers=_lead_to(incoming.batch_id))
    remarks = await read_remarks(visitor, incoming.batch_id)
    put_notice(answer, visitor.config, _told(visitor, report, remarks))
    return answer


@router.get("/uploads/{upload_id}")
async def show_progress(
    request: Request, visitor: Annotated[Visitor, WRITE], upload_id: UUID
) -> Response:
    """Show how far a file has come, and what its rows are worth; nothing before its first block.

    A list that is in says where it leads to: the answer to its upload may have been lost.
    """
    try:
        found = await imports.read_upload(visitor.db, team=visitor.team, upload_id=upload_id)
    except NotFound:
        return Response(status_code=204)
    html = frame_of(request).piece(
        visitor, "new_progress.html", found=found, verdicts=REFUSALS, remarks=WARNINGS
    )
    is_in = found.state == "done"
    return HTMLResponse(html, headers=_lead_to(found.batch_id) if is_in else None)


def meanings(kind: Kind) -> Sequence[str]:
    """Return what a column of a list can mean, the needed and usual ones first."""
    usual = dict.fromkeys((*NEEDED[kind], *SYNONYMS[kind]))
    if kind is Kind.SHIPMENT:
        usual |= dict.fromkeys(list_columns())
    return tuple(usual)


def read_mapping(kind: Kind, fields: Mapping[str, str]) -> dict[str, str | None] | None:
    """Return what was said of columns: `column.0` and `meaning.0` and so on; None is nothing.

    A column of calls that is kept as it is means what it is called, also where it could be
    guessed to be something else. Of columns of one name the first is meant, as everywhere. A
    browser has made CRLF of the line breaks in a name.
    """
    found: dict[str, str | None] = {}
    seen: set[str] = set()
    for name, text in fields.items():
        group, _, place = name.partition(".")
        column = with_plain_lines(text)
        meaning = fields.get(f"meaning.{place}")
        one = fold_name(column)
        if group != "column" or meaning is None or not column.strip() or one in seen:
            continue
        seen.add(one)
        if meaning == LEFT_OUT:
            found[column] = None
        elif meaning:
            found[column] = meaning
        elif kind is Kind.CALL:
            found[column] = column.strip()
    return found or None


def _form(request: Request, *, limit: int) -> FileForm:
    return FileForm(request.headers.get("content-type", ""), request.stream(), limit=limit)


def _kind(fields: Mapping[str, str]) -> Kind:
    if fields.get("kind") not in set(Kind):
        raise InvalidRequest("Say whether these are calls or shipments.")
    return Kind(fields["kind"])


def _choice(kind: type[Choice], fields: Mapping[str, str], name: str) -> Choice:
    given = fields.get(name)
    return kind(given) if given in set(kind) else next(iter(kind))


def _upload_id(fields: Mapping[str, str]) -> UUID | None:
    try:
        return UUID(fields["upload_id"])
    except (KeyError, ValueError):
        return None


async def _settings(
    visitor: Visitor, kind: Kind, fields: Mapping[str, str], *, file_name: str | None
) -> BatchSettings:
    """Read what is said beside the file: what is wrong with it is told before the file comes in."""
    reference = fields.get("reference", "").strip()[:255] or None
    if kind is Kind.SHIPMENT:
        return ShipmentSettings(file_name=file_name, reference=reference)
    if fields.get("agent_id") != NEW_AGENT:
        return CallSettings(
            file_name=file_name,
            reference=reference,
            agent_id=await _known_agent(visitor, fields),
            creates_agent=False,
        )
    name = fields.get("agent_name", "").strip()[:200]
    if not name:
        raise InvalidRequest("Give the agent a name.")
    return CallSettings(
        file_name=file_name,
        reference=reference,
        agent_id=new_id(),
        creates_agent=True,
        agent_name=name,
    )


async def _known_agent(visitor: Visitor, fields: Mapping[str, str]) -> UUID:
    try:
        agent_id = UUID(fields.get("agent_id", ""))
    except ValueError as error:
        raise NotFound("There is no such agent.") from error
    await agents.require_agent(visitor.db, team=visitor.team, agent_id=agent_id)
    return agent_id


def _lead_to(batch_id: UUID) -> Mapping[str, str]:
    return {"HX-Redirect": f"{PREFIX}/batches/{batch_id}/rehearsal"}


def _told(visitor: Visitor, report: UploadReport, remarks: Sequence[Remark]) -> str:
    voice = visitor.voice
    sentences = [voice.count(report.accepted, "1 row was taken.", "{n} rows were taken.")]
    if report.refused:
        sentences.append(
            voice.count(report.refused, "1 row was refused.", "{n} rows were refused.")
        )
    sentences += tell_remarks(voice, remarks)
    return " ".join([*sentences, voice.say("Nothing has started yet.")])
