"""nginx with the configuration of deploy/, as it is shipped but for its ports."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from streaming.testing.server import Server, clean_environment

CONF = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"
SERVER = re.compile(r"^    server web\d:8080 (.+);\n", re.MULTILINE)
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def deployed_conf(port: int, web_ports: Sequence[int]) -> str:
    """Return deploy/nginx.conf with ports of this machine.

    Each web process is a server of its upstream, with the options of the file.
    """
    conf = CONF.read_text()
    options = set(SERVER.findall(conf))
    assert len(options) == 1
    [option] = options
    servers = [f"    server 127.0.0.1:{web} {option};\n" for web in web_ports]
    head, rest = conf.split("    server web1", 1)
    rest = SERVER.sub("", f"    server web1{rest}")
    conf = f"{head}{''.join(servers)}{rest}"
    for old, new in {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "listen [::]:80;": "",
        "worker_rlimit_nofile 65536;": "",
        '# "https://app.example.com"': '"https://app.example.com"',
    }.items():
        assert conf.count(old) == 1
        conf = conf.replace(old, new)
    return conf


def nginx_server(program: str, directory: Path, conf: str, port: int) -> Server:
    """Return an nginx that is not started yet; `port` is the last one that it opens."""
    folders = "".join(f"{kind}_temp_path {directory / kind};\n" for kind in TEMPORARY)
    assert conf.count("http {\n") == 1
    path = directory / "nginx.conf"
    path.write_text(conf.replace("http {\n", f"http {{\n{folders}"))
    user = "user root;" if os.geteuid() == 0 else ""
    options = f"daemon off; pid {directory}/nginx.pid; {user}"
    command = [program, "-p", str(directory), "-c", str(path), "-g", options]
    return Server(command, directory, environment=clean_environment(), port=port)
