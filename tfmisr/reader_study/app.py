"""The web application: one page for readers, one for the study's office, and the little that they ask for."""

import json
import mimetypes
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

_ANSWER = (
    *("values", "submission", "elapsed_ms", "first_input_ms", "idle_ms"),
    *("window_center", "window_width"),
)


def create(store: Store, hosts: tuple[str, ...], secure: bool = False) -> Guard:
    """Returns the ASGI application of a study.

    Args:
        store: Of the study; opened and closed by the caller.
        hosts: Names that the server is called by, without port.
        secure: Served by HTTPS.
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


def _pages():
    return sorted(entry.name for entry in (resources.files("tfmisr.reader_study") / "page").iterdir())


def _static(name):
    # Read once: what is served is the list above and nothing that a path could reach.
    body = (resources.files("tfmisr.reader_study") / "page" / name).read_bytes()
    kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]

    def serve(request: Request) -> Response:
        return Response(body, media_type=kind)

    return serve


def _token(request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token if kind == "Bearer" else ""


def _reader(request) -> int:
    reader = request.app.state.store.reader_of(_token(request))
    if reader is None:
        raise HTTPException(401, "expected the token of a reader")
    return reader


def _state(request: Request) -> Response:
    reader = _reader(request)
    return JSONResponse(screens.state(request.app.state.store, reader))


def _image(request: Request) -> Response:
    store, reader = request.app.state.store, _reader(request)
    name = store.image(reader, request.path_params["token"])
    if name is None:
        raise HTTPException(404, "there is no such image")
    return Response(store.study.body(name), media_type="application/octet-stream")


async def _display(request: Request) -> Response:
    content = await _content(request)
    return await run_in_threadpool(_keep_display, request, content)


def _keep_display(request, content):
    reader = _reader(request)
    request.app.state.store.record_display(reader, screens.display_check(content))
    return JSONResponse({})


async def _answer(request: Request) -> Response:
    content = await _content(request)
    return await run_in_threadpool(_keep_answer, request, content)


def _keep_answer(request, content):
    reader = _reader(request)
    if not isinstance(content, dict) or set(content) != {"trial", *_ANSWER} or not isinstance(content["trial"], str):
        raise InputError(f"expected {', '.join(('trial', *_ANSWER))}")
    answer = Answer(**{name: content[name] for name in _ANSWER})
    request.app.state.store.commit(reader, content["trial"], answer)
    return JSONResponse({})


async def _content(request):
    try:
        # Python's own reading of NaN and Infinity is no JSON; they are refused where numbers are checked.
        content = json.loads(await request.body())
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair can be neither kept nor sent
        return content
    except (ValueError, RecursionError) as error:
        raise InputError("expected JSON") from error


def _admin(request: Request) -> Response:
    store = request.app.state.store
    if not store.is_admin(_token(request)):
        raise HTTPException(401, "expected the token of the study's office")
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


def _failed(request, error):
    return JSONResponse({"error": error.detail}, error.status_code)


def _mistake(request, error):
    return JSONResponse({"error": str(error)}, 400)


def _refused(request, error):
    return JSONResponse({"error": str(error)}, 409)
