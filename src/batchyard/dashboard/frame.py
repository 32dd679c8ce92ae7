"""What all pages share: the templates, the places to go to, headers, notices."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from urllib.parse import quote, unquote

import jinja2
import orjson
from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from batchyard.config import Config
from batchyard.dashboard import facts, visitors, words
from batchyard.dashboard.visitors import PREFIX, Visitor
from batchyard.dashboard.voice import Voice
from batchyard.operations.waiting import REASONS

STATIC = Path(str(resources.files("batchyard.dashboard").joinpath("static")))
NOTICE_COOKIE = "batchyard_notice"
NOTICE_SECONDS = 60
HTMX = orjson.dumps(
    {
        "allowEval": False,
        "allowScriptTags": False,
        "includeIndicatorStyles": False,
        "historyEnabled": False,
        "selfRequestsOnly": True,
        # A fault is shown where the answer would have been.
        "responseHandling": [{"code": "204", "swap": False}, {"code": ".*", "swap": True}],
    }
).decode()
"""htmx neither evaluates anything nor writes styles: the content security policy forbids both."""
FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A page that the navigation leads to."""

    name: str
    path: str
    """Behind the prefix, with a leading slash."""
    icon: str
    """Its id in `static/icons.svg`."""
    scopes: Sequence[str] = ("batches:read",)
    """Shown to those who have one of them."""


class Frame:
    """Makes pages of templates."""

    def __init__(self, places: Sequence[Place], *, base_url: str) -> None:
        self.places = places
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("batchyard.dashboard"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            static=static_path,
            htmx_config=HTMX,
            base_url=base_url,
            pretty=facts.write_pretty,
            facts=facts.group_facts,
            amounts=facts.tell_amounts,
            gist=facts.tell_gist,
            is_nested=facts.is_nested,
            reasons=REASONS,
            prefix=PREFIX,
            states=words.STATES,
            statuses=words.STATUSES,
            kinds=words.KINDS,
        )

    def places_of(self, visitor: Visitor) -> Sequence[Place]:
        """Return where somebody may go, in the order of the navigation."""
        return [place for place in self.places if any(map(visitor.may, place.scopes))]

    def page(
        self,
        request: Request,
        visitor: Visitor,
        template: str,
        *,
        status: int = 200,
        **context: object,
    ) -> Response:
        """Answer with a page for somebody who is signed in."""
        places = self.places_of(visitor)
        path = request.url.path.removeprefix(PREFIX)
        notice = _read_notice(request)
        html = self.piece(
            visitor,
            template,
            places=places,
            here=next((p for p in places if path.startswith(p.path)), None),
            notice=notice,
            is_piece="hx-request" in request.headers,
            **context,
        )
        response = HTMLResponse(html, status_code=status)
        if notice is not None:
            response.delete_cookie(NOTICE_COOKIE, path=PREFIX)
        return response

    def piece(self, visitor: Visitor, template: str, **context: object) -> str:
        """Render a part of a page."""
        return self.bare(visitor.voice, template, visitor=visitor, **context)

    def bare(self, voice: Voice, template: str, **context: object) -> str:
        """Render what needs nobody to be signed in."""
        return self._templates.get_template(template).render(voice=voice, _=voice.say, **context)


def frame_of(request: Request) -> Frame:
    """Return the frame of the door that a request came to."""
    frame: Frame = request.app.state.frame
    return frame


@cache
def static_path(name: str) -> str:
    """Return the address of a file of ours; another one as soon as it has changed."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"{PREFIX}/static/{name}?v={digest}"


class Assets(StaticFiles):
    """Our own files; a browser asks once for each version."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file."""
        response = await super().get_response(path, scope)
        if response.status_code == 200 and scope["query_string"]:
            response.headers["Cache-Control"] = FOR_EVER
        return response


def go_to(path: str, config: Config, *, notice: str | None = None) -> Response:
    """Send the browser on after a change; `notice` is said on the page it comes to."""
    response = RedirectResponse(f"{PREFIX}{path}", status_code=303)
    if notice is not None:
        put_notice(response, config, notice)
    return response


def put_notice(response: Response, config: Config, notice: str) -> None:
    """Let the next page say something, once."""
    response.set_cookie(
        NOTICE_COOKIE,
        quote(notice),
        max_age=NOTICE_SECONDS,
        path=PREFIX,
        httponly=True,
        samesite="lax",
        secure=visitors.is_https(config),
    )


def _read_notice(request: Request) -> str | None:
    kept = request.cookies.get(NOTICE_COOKIE)
    return None if kept is None else unquote(kept)
