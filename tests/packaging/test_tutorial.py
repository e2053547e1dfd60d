"""The tutorial works as it is written, from the built wheel."""

import re
from pathlib import Path

import httpx
import pytest

from tests.packaging.conftest import DJANGO
from tests.packaging.site_pages import check_page, login
from tests.packaging.tutorial import reader
from tests.servers import SECONDS

pytestmark = pytest.mark.xdist_group("tutorial")


@pytest.mark.parametrize("django", DJANGO)
def test_the_tutorial_works(wheel: Path, django: str, tmp_path: Path) -> None:
    project = tmp_path / "shop-project"
    project.mkdir()
    (tmp_path / "agent-stream").symlink_to(wheel.parent.parent)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(f"django=={django}.*\n")
    with reader(project, UV_CONSTRAINT=str(constraints)) as tutorial:
        for part in tutorial.follow():
            server = tutorial.server
            if part == "Ask it":
                assert server
                assert "http://localhost" in server.log.read_text()
                with httpx.Client(base_url=server.url, timeout=SECONDS) as client:
                    check_page(client, "/agents/", hashed=False)
                    check_page(client, "/agents/a/support/", hashed=False)
            if part == "Look into the admin":
                assert server
                with httpx.Client(base_url=server.url, timeout=SECONDS) as client:
                    login(client, "admin", "change-me")
                    runs = client.get("/admin/streaming/run/")
                    assert "2 runs" in runs.text
            if part != "Production":  # its `check --deploy` alone warns of libraries
                assert "(streaming.W" not in "".join(tutorial.outputs)
        assert part == "Production"
        assert tutorial.server
        with httpx.Client(base_url=tutorial.server.url, timeout=SECONDS) as client:
            check_page(client, "/agents/", hashed=True)
        warnings = set(re.findall(r"\(streaming\.(\w+)\)", "".join(tutorial.outputs)))
        assert warnings <= {"W006"}  # a library may be newer than the tested one
