"""The web application (Starlette): the readers' page, the study coordinator's page, and their JSON API."""

import json
import mimetypes
import typing
from collections.abc import Callable
from importlib import resources

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tfmisr.edge.errors import InputError
from tfmisr.reader_study import screens
from tfmisr.reader_study.answer import Answer, Refused
from tfmisr.reader_study.security import Guard
from tfmisr.reader_study.store import Store

_ANSWER_FIELDS = (
    *("values", "submission", "elapsed_ms", "first_input_ms", "idle_ms"),
    *("window_center", "window_width"),
)
# Pages of earlier releases do not send these. Without `version` the page counts as one that saw no answer: it can store
# the first one, and is refused where it would replace one.
_OPTIONAL_FIELDS = ("zoom", "interpolation")
_MAX_VERSION = 1_000_000


def create(store: Store, hosts: tuple[str, ...], secure: bool = False) -> Guard:
    """Returns the ASGI application of a study.

    Args:
        store: Store of the study; the caller opens and closes it.
        hosts: Host names of the server, without port.
        secure: Whether the server uses HTTPS.
    """
    routes = [
        Route("/", _static("index.html")),
        Route("/admin", _static("admin.html")),
        Route("/favicon.ico", lambda request: Response(status_code=204)),
        Route("/api/state", _state),
        Route("/api/admin", _admin),
        Route("/api/display", _display, methods=["POST"]),
        Route("/api/answer", _answer, methods=["POST"]),
        Route("/image/{token}", _image),
        *(Route(f"/page/{name}", _static(name)) for name in _pages() if name.endswith((".js", ".css"))),
    ]
    handlers = {HTTPException: _failed, InputError: _mistake, Refused: _refused}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.state.store = store
    return Guard(app, hosts, secure)


def _pages() -> list[str]:
    return sorted(entry.name for entry in (resources.files("tfmisr.reader_study") / "page").iterdir())


def _static(name: str) -> Callable[[Request], Response]:
    # Read once at the start: only the files listed in the routes can be requested, whatever the path.
    body = (resources.files("tfmisr.reader_study") / "page" / name).read_bytes()
    media_type = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]

    def serve(request: Request) -> Response:
        return Response(body, media_type=media_type)

    return serve


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""


def _reader(request: Request) -> int:
    reader = request.app.state.store.reader_of(_token(request))
    if reader is None:
        raise HTTPException(401, "expected the token of a reader")
    return reader


def _state(request: Request) -> Response:
    reader = _reader(request)
    return JSONResponse(screens.state(request.app.state.store, reader))


def _image(request: Request) -> Response:
    store, reader = request.app.state.store, _reader(request)
    digest = store.image(reader, request.path_params["token"])
    if digest is None:
        raise HTTPException(404, "there is no such image")
    return Response(store.study.body(digest), media_type="application/octet-stream")


async def _display(request: Request) -> Response:
    content = await _content(request)
    return await run_in_threadpool(_store_display, request, content)


def _store_display(request: Request, content: typing.Any) -> Response:
    reader = _reader(request)
    request.app.state.store.record_display(reader, screens.display_check(content))
    return JSONResponse({})


async def _answer(request: Request) -> Response:
    content = await _content(request)
    return await run_in_threadpool(_store_answer, request, content)


def _store_answer(request: Request, content: typing.Any) -> Response:
    reader = _reader(request)
    required, optional = ("trial", *_ANSWER_FIELDS), ("version", *_OPTIONAL_FIELDS)
    names = set(content) if isinstance(content, dict) else set()
    if names - set(optional) != set(required) or not isinstance(content["trial"], str):
        raise InputError(f"expected {', '.join(required)}; optional: {', '.join(optional)}")
    seen = content.get("version", 0)
    if type(seen) is not int or not 0 <= seen < _MAX_VERSION:
        raise InputError("version must be the number of the answer that the page shows, 0 before the first")
    answer = Answer(**{name: content[name] for name in (*_ANSWER_FIELDS, *_OPTIONAL_FIELDS) if name in content})
    request.app.state.store.commit(reader, content["trial"], answer, seen)
    return JSONResponse({})


async def _content(request: Request) -> typing.Any:
    try:
        # Python's parser accepts NaN and Infinity; the checks of each number reject them.
        content = json.loads(await request.body())
        json.dumps(content, ensure_ascii=False).encode()  # a lone surrogate can be neither stored nor sent
        return content
    except (ValueError, RecursionError) as error:
        raise InputError("expected JSON") from error


def _admin(request: Request) -> Response:
    store = request.app.state.store
    if not store.is_admin(_token(request)):
        raise HTTPException(401, "expected the token of the study coordinator")
    rows, head = store.audit_head()
    displays = {label: (store.displays(number) or [None])[-1] for number, label in store.readers()}
    return JSONResponse(
        {
            "title": store.study.values["title"],
            "hash": store.study.hash,
            "closed_at": store.closed_at(),
            "audit_rows": rows,
            "audit_head": head,
            "readers": [{**row, "display": displays[row["label"]]} for row in store.progress()],
        }
    )


def _failed(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


def _mistake(request: Request, error: InputError) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _refused(request: Request, error: Refused) -> Response:
    return JSONResponse({"error": str(error), "stored": error.stored}, 409)
