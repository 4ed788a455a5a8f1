"""Orthanc as the DICOMweb client of a gateway (G-16): it stores by STOW-RS, searches by QIDO-RS, fetches by WADO-RS."""

import json
import pathlib
import subprocess

import pytest
from dicomweb_helpers import SOURCE, TABLE, web_configuration
from gateway_helpers import BICUBIC, data_set, image, running, uid_of, wait_for
from test_gateway_orthanc import HTTP, Orthanc

pytestmark = pytest.mark.large
WEB = 18080
PLUGIN = pathlib.Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


class Client(Orthanc):
    """Orthanc with its DICOMweb plugin, which knows the gateway as the server `gateway`."""

    def __init__(self, folder: pathlib.Path) -> None:
        if not PLUGIN.exists():
            pytest.skip("Orthanc's DICOMweb plugin is not installed")
        super().__init__(folder)
        settings = json.loads(self.config.read_text(encoding="utf-8"))
        server = {"Url": f"http://127.0.0.1:{WEB}/dicom-web/", "HasDelete": False}
        settings |= {"Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Servers": {"gateway": server}}}
        self.config.write_text(json.dumps(settings), encoding="utf-8")

    def post(self, path: str, content) -> bytes:
        data = content if isinstance(content, str) else json.dumps(content)
        command = [*self.inside, self.curl, "-sS", "--data-binary", data, f"http://127.0.0.1:{HTTP}/{path}"]
        return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture
def client(tmp_path):
    (tmp_path / "orthanc").mkdir()
    made = Client(tmp_path / "orthanc")
    made.start()
    yield made
    made.close()


def test_g16_orthanc_stores_searches_and_fetches(client, tmp_path):
    paths = [image(tmp_path, number) for number in (1, 2)]
    names = [json.loads(client.post("instances", f"@{path}"))["ID"] for path in paths]
    more = SOURCE + TABLE.replace("port = 0", f"port = {WEB}")
    text = web_configuration({"archive": 9}, more=more, rules=BICUBIC.format('"archive"'))
    with running(tmp_path, text, prefix=client.inside) as node:
        client.post("dicom-web/servers/gateway/stow", {"Resources": names, "Synchronous": True})
        rows = node.rows("SELECT sop_instance_uid, file FROM instances")
        assert {uid: data_set(node.spool / file) for uid, file in rows} == {uid_of(p): data_set(p) for p in paths}
        wait_for(lambda: node.rows("SELECT COUNT(*) FROM instances WHERE state = 'processed'") == [(2,)], "results")
        (study,) = json.loads(client.post("dicom-web/servers/gateway/qido", {"Uri": "/studies"}))
        (uid,) = [element["Value"] for element in study.values() if element["Name"] == "StudyInstanceUID"]
        client.post("dicom-web/servers/gateway/retrieve", {"Resources": [{"Study": uid}], "Synchronous": True})
        held = dict(node.rows("SELECT result_uid, result_file FROM instances"))
        assert node.stop() == 0
    fetched = client.wait(4)
    for uid, file in held.items():
        (tmp_path / "fetched").write_bytes(fetched[uid][1])
        assert data_set(tmp_path / "fetched") == data_set(node.spool / file)
