"""What the tests of DICOMweb share: a configuration, requests by http.client, and multipart bodies by hand."""

import http.client
import json
import re
import ssl

from gateway_helpers import Node, configuration

SOURCE = '[[sources]]\nae_title = "WEB"\naddress = "127.0.0.1"\ndicomweb = true\nretrieve = true\n'
TABLE = "[dicomweb]\nport = 0\n"
TYPE = 'multipart/related; type="application/dicom"; boundary=b0undary'


def web_configuration(ports: dict[str, int], more: str = SOURCE + TABLE, **changes) -> str:
    """Returns a configuration of `gateway_helpers` with a source WEB on 127.0.0.1 that may store and retrieve."""
    return configuration(ports, more=more, **changes)


def web_port(node: Node) -> int:
    return int(re.findall(r"DICOMweb at \S+ port (\d+)", node.text())[-1])


def body(*parts: bytes, head: str = "Content-Type: application/dicom\r\n") -> bytes:
    """Returns a multipart body with the boundary of `TYPE`."""
    found = b"".join(b"--b0undary\r\n" + head.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return found + b"--b0undary--\r\n"


class Reply:
    """Status, header fields and body of a response."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.content = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.content)

    def reasons(self) -> list[int]:
        """Failure Reasons of a Store Instances Response, those without an instance last."""
        items = [item for tag in ("00081198", "0008119A") for item in self.json().get(tag, {}).get("Value", ())]
        return [item["00081197"]["Value"][0] for item in items]

    def stored(self) -> list[str]:
        """SOP Instance UIDs of a Store Instances Response."""
        return [item["00081155"]["Value"][0] for item in self.json().get("00081199", {}).get("Value", ())]


def request(
    port: int,
    method: str,
    path: str,
    content: bytes | None = None,
    own: str = "127.0.0.1",
    context: ssl.SSLContext | None = None,
    **headers: str,
) -> Reply:
    """Sends a request from one of the addresses of the loopback interface; `_` in names of headers stands for `-`."""
    where = {"host": "127.0.0.1", "port": port, "timeout": 30, "source_address": (own, 0)}
    connection = (
        http.client.HTTPSConnection(**where, context=context) if context else http.client.HTTPConnection(**where)
    )
    try:
        connection.request(method, path, content, {name.replace("_", "-"): value for name, value in headers.items()})
        with connection.getresponse() as response:
            return Reply(response)
    finally:
        connection.close()


def post(port: int, *parts: bytes, study: str = "", **changes) -> Reply:
    """Stores files."""
    path = f"/dicom-web/studies/{study}" if study else "/dicom-web/studies"
    return request(port, "POST", path, body(*parts), Content_Type=TYPE, **changes)


def get(port: int, path: str, **changes) -> Reply:
    return request(port, "GET", f"/dicom-web{path}", **changes)
