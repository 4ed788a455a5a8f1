"""The server: requests it refuses, content it sends, and durability of answers when it is killed."""

import concurrent.futures
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys

import pytest
from reader_study_helpers import ARMS, ROOT, Client, answer, build, checks, kill, process, served

from tfmisr.reader_study import frozen, security, verification
from tfmisr.reader_study.store import Store

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    preference = {"text": "Which?", "pairs": [["armadillo", "caracal"]]}
    return build(folder, display={"panes": ["lr", "rated", "truth"]}, preference=preference).folder


@pytest.fixture
def study(built, tmp_path):
    shutil.copytree(built, tmp_path / "study")
    return frozen.Study(tmp_path / "study")


@pytest.fixture
def store(study):
    with Store(study) as found:
        yield found


@pytest.fixture
def url(store):
    with served(store) as found:
        yield found


@pytest.fixture
def anna(store, url):
    return Client(url, store.add_reader("anna"))


def values_for(state):
    return {"preference": "none"} if state["trial"]["preference"] else {"quality": 4, "usefulness": 3}


def linked(client, path, seen):
    """Asks for a page and all that it and its scripts name."""
    if path in seen:
        return
    seen[path] = client.ask("GET", path)
    text = seen[path][2].decode()
    for name in re.findall(r"""(?:src|href)="(/[^"]*)"|from "\./([^"]+)\"""", text):
        linked(client, name[0] or f"/page/{name[1]}", seen)


#
def test_crawl_of_a_whole_reading_finds_no_arm_and_equal_lengths(anna, store):
    seen, lengths, bodies = {}, set(), []
    for path in ("/", "/admin", "/favicon.ico"):
        linked(anna, path, seen)
    assert {"/page/study.js", "/page/viewer.js", "/page/webgl.js", "/page/style.css"} <= set(seen)
    responses = list(seen.values())
    states = {True: set(), False: set()}
    while (state := anna.get("/api/state"))["phase"] == "reading":
        responses.append(anna.ask("GET", "/api/state"))
        for _, token in state["trial"]["panes"]:
            responses.append(anna.ask("GET", f"/image/{token}"))
            bodies.append(responses[-1])
            lengths.add(len(responses[-1][2]))
        body = json.loads(responses[-1 - len(state["trial"]["panes"])][2])
        states[body["trial"]["preference"]].add(
            len(json.dumps(body["trial"])) - len(json.dumps(body["trial"]["shown"]))
        )
        assert anna.commit(state["trial"]["token"], values_for(state)) == 200
    assert len(bodies) == 3 * (3 + 12 + 2) + 2 * 4
    assert all(status in (200, 204) for status, _, _ in responses)
    secrets = [*ARMS, "bicubic", "secret", "case-0", store.study.hash[:12]]
    for _, headers, body in responses:
        text = body.decode("latin-1").lower() + json.dumps(headers).lower()
        for word in secrets:
            assert word not in text
        assert headers["cache-control"] == "no-store"
        assert not {"etag", "last-modified", "content-encoding", "server"} & {name.lower() for name in headers}
    assert lengths == {32 * 40 * 2}
    assert len({json.dumps({k: v for k, v in h.items() if k.lower() != "date"}) for _, h, _ in bodies}) == 1
    # But for "true" and "false" of the training block, no state is longer than another.
    assert {max(found) - min(found) for found in states.values()} <= {0, 1}
    names = {token for trial in store.trials(1) for _, token in store.panes(trial)}
    assert not names & {path.stem for path in store.study.folder.rglob("*")}


#
def test_image_of_another_reader_or_of_none_is_not_found(anna, store, url):
    ben = Client(url, store.add_reader("ben"))
    token = ben.get("/api/state")["trial"]["panes"][0][1]
    assert ben.ask("GET", f"/image/{token}")[0] == 200
    assert anna.ask("GET", f"/image/{token}")[0] == 404
    assert Client(url).ask("GET", f"/image/{token}")[0] == 401


#
def test_pixels_come_as_raw_16_bit_numbers(anna, store):
    trial = store.waiting(1)[0]
    _, headers, body = anna.ask("GET", f"/image/{store.panes(trial)[1][1]}")
    assert headers["content-type"] == "application/octet-stream"
    assert body == store.study.pixels(trial.case, trial.arms[0]).astype("<u2").tobytes()


#
def test_second_answer_is_a_conflict(anna):
    token = anna.get("/api/state")["trial"]["token"]
    assert anna.commit(token) == 200
    assert anna.commit(token, {"quality": 1, "usefulness": 1}) == 409
    assert anna.get("/api/state")["done"] == 1


#
def test_page_that_saw_another_version_is_told_what_is_stored(tmp_path):
    with Store(build(tmp_path, training=0, reading={"allow_back": True})) as store, served(store) as url:
        anna = Client(url, store.add_reader("anna"))

        def post(score, **changes):
            values = {"quality": score, "usefulness": score}
            content = {"trial": token, **vars(answer(values)), **changes}
            status, _, body = anna.ask("POST", "/api/answer", content)
            return status, json.loads(body).get("stored")

        token = anna.get("/api/state")["trial"]["token"]
        stored = {"version": 1, "answers": {"quality": 1, "usefulness": 1}}
        assert post(1, version=0) == (200, None)
        assert post(2, version=0) == (409, stored)
        assert post(3) == (409, stored)  # a page of an earlier release: it does not say what it saw
        assert post(4, version=1) == (200, None)
        assert anna.get("/api/state")["previous"]["version"] == 2
        for version in (-1, 1.0, "1", None, True, 10**400):
            assert post(5, version=version)[0] == 400


#
def test_page_of_an_earlier_release_can_answer(anna, store):
    sent = {name: value for name, value in vars(answer()).items() if name not in ("zoom", "interpolation")}
    token = anna.get("/api/state")["trial"]["token"]
    assert anna.ask("POST", "/api/answer", {"trial": token, **sent, "more": 1})[0] == 400
    assert anna.ask("POST", "/api/answer", {"trial": token, **sent})[0] == 200
    *_, kept = next(store.commits(1))
    assert kept["zoom"] is None and kept["interpolation"] is None


#
def test_another_browser_resumes_where_the_first_one_stopped(anna, url):
    for _ in range(4):
        anna.commit(anna.get("/api/state")["trial"]["token"])
    state = Client(url, anna.token).get("/api/state")
    assert (state["done"], state["trial"]) == (4, anna.get("/api/state")["trial"])


#
def test_display_check_is_stored_and_shown_to_the_coordinator(anna, store, url):
    assert anna.ask("POST", "/api/display", checks())[0] == 200
    assert anna.ask("POST", "/api/display", {**checks(), "ambient": "x"})[0] == 400
    coordinator = Client(url, store.new_admin())
    found = coordinator.get("/api/admin")
    assert found["readers"][0]["display"]["ambient"] == "dimmed"
    assert (found["readers"][0]["answered"], found["closed_at"]) == (0, None)
    assert not any(arm in json.dumps(found) for arm in ARMS)


#
def test_coordinator_and_readers_have_separate_tokens(anna, store, url):
    coordinator = Client(url, store.new_admin())
    assert anna.ask("GET", "/api/admin")[0] == 401
    assert coordinator.ask("GET", "/api/state")[0] == 401
    for token in ("", "x", anna.token[:-1], anna.token + "x", anna.token.lower()):
        assert Client(url, token).ask("GET", "/api/state")[0] == 401
        assert Client(url, token).ask("POST", "/api/answer", {})[0] == 401
    assert anna.ask("GET", "/api/state", Authorization=f"Basic {anna.token}")[0] == 401


#
@pytest.mark.parametrize(
    "headers,status",
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": None}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Host": "evil.example"}, 421),
    ],
)
def test_request_of_another_site_is_refused(anna, headers, status):
    content = {"trial": anna.get("/api/state")["trial"]["token"], **vars(answer())}
    found, said, body = anna.ask("POST", "/api/answer", content, **headers)
    assert found == status and "error" in json.loads(body)
    assert "default-src 'self'" in said["content-security-policy"]
    assert anna.get("/api/state")["done"] == 0


#
def test_rebound_name_gets_not_even_a_page(anna):
    assert anna.ask("GET", "/", Host="evil.example")[0] == 421
    assert anna.ask("GET", "/", Host="localhost:1")[0] == 200


#
@pytest.mark.parametrize(
    "body,status",
    [
        (b"x" * (security.MAX_BODY + 1), 413),
        (b"not JSON", 400),
        (b"[" * 60_000, 400),
        (b"{}", 400),
        (b"[]", 400),
        (b'{"trial": 1}', 400),
        (b"\xff\xfe", 400),
    ],
)
def test_invalid_answer_is_refused(anna, body, status):
    assert anna.ask("POST", "/api/answer", body)[0] == status


#
@pytest.mark.parametrize(
    "changes", [{"elapsed_ms": float("nan")}, {"values": {"quality": 9, "usefulness": 1}}, {"submission": 7}]
)
def test_answer_with_impossible_values_is_refused(anna, changes):
    content = {"trial": anna.get("/api/state")["trial"]["token"], **vars(answer()), **changes}
    assert anna.ask("POST", "/api/answer", content)[0] == 400


#
def test_chunks_without_a_length_are_refused(anna):
    content = iter([b'{"trial": "x"}'])
    anna.connection.request(
        "POST",
        "/api/answer",
        content,
        {"Origin": f"http://{anna.url.netloc}", "Content-Type": "application/json"},
        encode_chunked=True,
    )
    assert anna.connection.getresponse().status == 411


#
def test_page_gets_what_is_listed_here_and_nothing_more(anna):
    state = anna.get("/api/state")
    assert set(state) == {
        *("title", "instructions", "questions", "preference", "interpolation", "break_minutes", "allow_back", "phase"),
        *("not_before", "session", "sessions", "done", "total", "trial", "next", "previous"),
    }
    for screen in (state["trial"], state["next"]):
        assert set(screen) == {"token", "training", "preference", "panes", "shown"}
        shown = {"height", "width", "offset", "slope", "intercept", "window", "inverted", "padding", "presets"}
        assert set(screen["shown"]) == shown and set(screen["shown"]["window"]) == {"center", "width", "function"}
        assert [role for role, _ in screen["panes"]] == ["lr", "rated", "truth"]
    assert {key for question in state["questions"] for key in question} == {"key", "text", "anchors"}


#
def test_length_beside_chunks_does_not_pass_for_the_length(anna):
    headers = {"Origin": f"http://{anna.url.netloc}", "Content-Type": "application/json"}
    headers |= {"Content-Length": "2", "Transfer-Encoding": "chunked"}
    anna.connection.request("POST", "/api/answer", b"2\r\n{}\r\n0\r\n\r\n", headers)
    assert anna.connection.getresponse().status == 411


#
@pytest.mark.parametrize(
    "path,content",
    [
        ("/api/answer", {"trial": "\ud800"}),
        ("/api/answer", {"submission": "\ud800 submission"}),
        ("/api/answer", {"elapsed_ms": 10**400}),
        ("/api/answer", {"window_width": -(10**400)}),
        ("/api/answer", {"window_width": 0}),
        ("/api/answer", {"window_width": -400}),
        ("/api/answer", {"zoom": 10**400}),
        ("/api/answer", {"interpolation": {}}),
        ("/api/display", {"user_agent": "\ud800"}),
        ("/api/display", {"screen_width": 10**400}),
    ],
)
def test_texts_and_numbers_that_cannot_be_kept_are_refused(anna, store, path, content):
    known = {"trial": anna.get("/api/state")["trial"]["token"], **vars(answer())}
    known = known if path == "/api/answer" else checks()
    assert anna.ask("POST", path, {**known, **content})[0] == 400
    assert Client(anna.url.geturl(), store.new_admin()).ask("GET", "/api/admin")[0] == 200


#
@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e/%2e%2e/study.json",
        "/page//etc/passwd",
        "/page/index.html",
        "/image/../study.json",
        "/image/..%2f..%2fstudy.json",
        "/image/%00",
        "/study.json",
        "/study.db",
        "/pixels/",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_pages(anna, path):
    status, _, body = anna.ask("GET", path)
    assert status == 404 and b"armadillo" not in body and b"import" not in body


#
def test_pages_ask_no_third_party(anna):
    seen = {}
    linked(anna, "/", seen)
    linked(anna, "/admin", seen)
    for _, headers, body in seen.values():
        assert b"//" not in re.sub(rb"(?m)^\s*//.*$|; //.*$|; +// .*$", b"", body).replace(b"</", b"")
        assert headers["content-security-policy"].startswith("default-src 'self'; base-uri 'none'; form-action 'none'")
        assert headers["referrer-policy"] == "no-referrer" and headers["x-frame-options"] == "DENY"
        assert "strict-transport-security" not in headers  # plain HTTP: RFC 6797, 7.2


#
@pytest.mark.parametrize(
    "arguments,expected",
    [
        (("--host", "0.0.0.0"), "can be reached from other computers; give --tls_certificate"),
        (("--host", "192.0.2.1"), "can be reached from other computers"),
        (("--host", "0.0.0.0", "--insecure_http"), "--name must give the host name"),
        (("--tls_key", "key.pem"), "--tls_certificate and --tls_key must be given together"),
        (("--tls_key", "no.pem", "--tls_certificate", "no.pem"), "certificate or key cannot be used: No such file"),
        (("--tls_key", "setup.cfg", "--tls_certificate", "setup.cfg"), "certificate or key cannot be used"),
        (("--host", "reading.example"), "--host must be an address"),
        (("--port", "70000"), "port must be 0 to 65535. Received: 70000"),
    ],
)
def test_unsafe_address_is_refused(study, arguments, expected):
    command = [sys.executable, "-m", "tfmisr.reader_study", "serve", str(study.folder), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and expected in done.stderr and "Traceback" not in done.stderr


#
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_https_is_served_and_printed(study, tmp_path):
    with Store(study) as store:
        token = store.add_reader("anna")
    pair = [str(tmp_path / name) for name in ("certificate.pem", "key.pem")]
    said = [
        "-x509",
        "-nodes",
        "-newkey",
        "rsa:2048",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-out",
        pair[0],
        "-keyout",
        pair[1],
    ]
    subprocess.run(["openssl", "req", *said], check=True, capture_output=True)
    with process(study.folder, "--tls_certificate", pair[0], "--tls_key", pair[1]) as (url, _):
        context = ssl.create_default_context(cafile=pair[0])
        context.check_hostname = False  # the certificate is localhost's
        client = Client(url, token, context)
        assert url.startswith("https://")
        status, headers, body = client.ask("GET", "/api/state")
        assert status == 200 and headers["cache-control"] == "no-store"
        assert headers["strict-transport-security"] == "max-age=2592000"
        assert client.commit(json.loads(body)["trial"]["token"]) == 200


#
def test_two_readers_at_once_do_not_meet(anna, store, url):
    ben = Client(url, store.add_reader("ben"))

    def read(client):
        while (state := client.get("/api/state"))["phase"] == "reading":
            assert client.commit(state["trial"]["token"], values_for(state)) == 200

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(read, (anna, ben)))
    assert [row["answered"] for row in store.progress()] == [row["trials"] for row in store.progress()]
    assert verification.integrity_errors(store) == []


#
def test_server_killed_in_the_middle_of_answers_loses_no_acknowledged_one(study):
    with Store(study) as store:
        tokens = {label: store.add_reader(label) for label in ("anna", "ben")}
    with process(study.folder) as (url, server), concurrent.futures.ThreadPoolExecutor(2) as pool:
        acknowledged = {label: [] for label in tokens}

        def read(label):
            client = Client(url, tokens[label])
            try:
                while (state := client.get("/api/state"))["phase"] == "reading":
                    token = state["trial"]["token"]
                    if client.commit(token, values_for(state)) == 200:
                        acknowledged[label].append(token)
                    if len(acknowledged["anna"]) == 6:
                        kill(server)
            except (OSError, http.client.HTTPException) as error:
                return error

        assert all(pool.map(read, tokens))
    with Store(study) as store:
        assert verification.integrity_errors(store) == []
        for label, number in ((label, number) for number, label in store.readers()):
            kept = [trial.token for trial, _, _ in store.commits(number)]
            assert acknowledged[label] == kept[: len(acknowledged[label])]
            assert len(kept) - len(acknowledged[label]) <= 1  # kept, but its receipt was lost
    with process(study.folder) as (url, _):
        assert Client(url, tokens["anna"]).get("/api/state")["done"] >= 6


#
def test_server_writes_no_token_to_its_output(study):
    with Store(study) as store:
        token = store.add_reader("anna")
    with process(study.folder) as (url, server):
        client = Client(url, token)
        trial = client.get("/api/state")["trial"]
        client.ask("GET", f"/image/{trial['panes'][0][1]}")
        client.commit(trial["token"])
        Client.close_all()
        server.send_signal(signal.SIGINT)
        said = server.stdout.read()
        assert server.wait(20) == 0
    assert token not in said and trial["token"] not in said and trial["panes"][0][1] not in said


def test_commands_end_a_study(study, tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "tfmisr.reader_study", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env={**os.environ})

    added = run("readers", study.folder, "--add", "anna", "ben", "--admin", "--url", "https://reading.example")
    names = [line.split("\t")[0] for line in added.stdout.splitlines()]
    assert names == ["anna", "ben", "progress"] and "https://reading.example/#" in added.stdout
    with process(study.folder) as (served_at, _):
        carl = run("readers", study.folder, "--add", "carl")
        assert carl.stdout.startswith(f"carl\t{served_at}/#") and carl.stderr == ""
    assert run("readers", study.folder, "--reissue", "carl").stdout.startswith(f"carl\t{served_at}/#")
    assert "anna\t0 of 21\tnot started" in run("readers", study.folder).stdout
    assert run("readers", study.folder, "--add", "anna").returncode == 2
    assert run("readers", study.folder, "--reissue", "dora").returncode == 2
    assert run("verify", study.folder).returncode == 0
    assert run("export", study.folder, "--output", tmp_path / "out").returncode == 2
    assert run("close", study.folder).returncode == 0
    done = run("export", study.folder, "--output", tmp_path / "out")
    assert done.returncode == 0 and (tmp_path / "out" / "ratings.csv").is_file()
    head = done.stdout.split()[-1]
    assert run("verify", study.folder, "--head", head).returncode == 0
    wrong = run("verify", study.folder, "--head", "0" * 64)
    assert wrong.returncode == 1 and "it was truncated" in wrong.stdout
    assert "expected a study at" in run("serve", tmp_path / "nowhere").stderr
