"""A small reader study, a server that serves it, and what a page would send."""

import contextlib
import datetime
import http.client
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import urllib.parse

import numpy as np
import pytest
from tiny_network import picture

from tfmisr.edge import images
from tfmisr.reader_study import building, study_file
from tfmisr.reader_study.answer import Answer

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Words that no page has for another reason.
ARMS = {"armadillo": "bilinear", "buffalo": "bicubic", "caracal": "truth"}
ANCHORS = ["one", "two", "three", "four", "five"]
_submissions = itertools.count()


def values(folder, cases=4, training=1, arms=ARMS, size=(32, 40), **tables) -> dict:
    """Returns what a study file would say, after writing its images, 12-bit PNG, to `folder`."""
    folder = pathlib.Path(folder)
    for number in range(cases + training):
        pixels = np.rint(4095 * picture(*size, seed=number)).astype(np.uint16)
        images.write_image(folder / f"secret{number}.png", pixels, 4095)
    return {
        "title": "A study",
        "instructions": "Look.\n\nThen answer.",
        "seed": 7,
        "scale": 2,
        "cases": {"files": ["secret*.png"], "count": cases, "training": training},
        "arms": [{"name": name, "model": model} for name, model in arms.items()],
        "questions": [{"key": key, "text": f"How {key}?", "anchors": ANCHORS} for key in ("quality", "usefulness")],
        "order": {"repeats": 0.2, "repeat_distance": 3, "min_distance": 2},
        "reading": {"minimum_seconds": 2.0},
        **tables,
    }


def build(folder, **changes):
    """Returns a small frozen study below `folder`."""
    source = pathlib.Path(folder) / "source"
    source.mkdir()
    design = study_file.from_dict(values(source, **changes), "test", source)
    return building.build(design, pathlib.Path(folder) / "study")


class Time:
    """A clock that tests advance."""

    def __init__(self):
        self.now = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)

    def __call__(self):
        return self.now

    def forward(self, **how_long):
        self.now += datetime.timedelta(**how_long)


def answer(values=None, **changes) -> Answer:
    """Returns an answer to a trial of one image."""
    kept = {
        "values": values or {"quality": 4, "usefulness": 3},
        "submission": f"submission {next(_submissions)}",
        "elapsed_ms": 5000.0,
        "first_input_ms": 1000.0,
        "idle_ms": 500.0,
        "window_center": 2048.0,
        "window_width": 4096.0,
    }
    return Answer(**{**kept, **changes})


def read_all(store, reader, until=None):
    """Answers the trials of a reader, or so many of them."""
    for trial in store.trials(reader)[:until]:
        store.commit(reader, trial.token, answer({"preference": "left"} if len(trial.arms) == 2 else None))


@contextlib.contextmanager
def served(store, listener=None, **kwargs):
    """Serves a study in a thread and gives its address."""
    uvicorn = pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    from tfmisr.reader_study import app, connections

    application = app.create(store, ("127.0.0.1", "localhost"), **kwargs)
    flags = {"access_log": False, "log_level": "warning", "server_header": False, "lifespan": "off"}
    flags["log_config"] = None  # uvicorn's would close absl's handler, and with it pytest's stderr
    server = uvicorn.Server(uvicorn.Config(application, loop="asyncio", http=connections.Protocol, **flags))
    listener = listener or connections.Listener(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        Client.close_all()
        server.should_exit = True
        thread.join()
        listener.close()


@contextlib.contextmanager
def process(folder, *more):
    """Serves a study in another process, which may be killed, and gives its address and the process."""
    pytest.importorskip("uvicorn")
    command = [sys.executable, "-m", "tfmisr.reader_study", "serve", str(folder), "--port", "0", *more]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().split(" at ")[1].split(";")[0], server
        finally:
            Client.close_all()
            if server.poll() is None:
                server.send_signal(signal.SIGINT)
                server.wait(20)


class Client:
    """Asks a server as a page would; `context` is for HTTPS."""

    opened = []

    def __init__(self, url, token="", context=None):
        self.url, self.token = urllib.parse.urlsplit(url), token
        if context is None:
            self.connection = http.client.HTTPConnection(self.url.netloc, timeout=30)
        else:
            self.connection = http.client.HTTPSConnection(self.url.netloc, timeout=30, context=context)
        self.opened.append(self.connection)

    @classmethod
    def close_all(cls):
        """Closes all connections."""
        while cls.opened:
            cls.opened.pop().close()

    def ask(self, method, path, body=None, **headers):
        """Returns status, headers and body."""
        said = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            said |= {"Content-Type": "application/json", "Origin": f"{self.url.scheme}://{self.url.netloc}"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, {name: value for name, value in said.items() if value is not None})
        response = self.connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()

    def get(self, path):
        """Returns the JSON of a successful answer."""
        status, _, body = self.ask("GET", path)
        assert status == 200, (status, body)
        return json.loads(body)

    def commit(self, token, values=None, **changes):
        """Posts an answer and returns the status."""
        content = {"trial": token, **vars(answer(values, **changes))}
        return self.ask("POST", "/api/answer", content)[0]


def checks() -> dict:
    """Returns a page's display check."""
    return {
        "dark_square": True,
        "bright_square": False,
        "ambient": "dimmed",
        "calibrated": "unknown",
        "screen_width": 1920,
        "screen_height": 1080,
        "device_pixel_ratio": 1.5,
        "color_depth": 24,
        "renderer": "webgl2",
        "windowing_exact": True,
        "redraw_ms": 1.25,
        "user_agent": "a browser",
    }


def kill(server):
    """Ends a process at once, as a power cut would."""
    os.kill(server.pid, signal.SIGKILL)
    server.wait(20)
