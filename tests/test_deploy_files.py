"""The files in deploy/ agree with each other, the settings and the commands."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml
from django.core.management import get_commands
from django.urls import resolve

import streaming
from streaming import conf
from streaming.testing.server import Server, clean_environment, free_port
from tests.available import need
from tests.servers import ROOT, container_command, fenced, site_environment
from tests.test_project import SETTINGS

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
MANIFESTS = [
    document
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
INSTALLED = "/opt/agent-stream"
#: Read by uvicorn.
OF_SERVER = {"FORWARDED_ALLOW_IPS"}

Words = Sequence[str]


def manifests(kind: str) -> Iterator[Any]:
    """Yield the objects of Kubernetes of a kind."""
    return (each for each in MANIFESTS if each["kind"] == kind)


def containers() -> Iterator[Any]:
    """Yield each container, with the pod that it is in."""
    for each in MANIFESTS:
        if template := each.get("spec", {}).get("template"):
            for container in template["spec"]["containers"]:
                yield container, template["spec"]


class Unit:
    """A unit of systemd; a key that is repeated has its last value."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        parser = configparser.RawConfigParser(strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(path)
        self.service = dict(parser["Service"])

    @property
    def command(self) -> list[str]:
        return shlex.split(self.service["ExecStart"])


def commands() -> dict[str, Words]:
    """Return the commands that deploy/ starts, by the place where each stands."""
    found: dict[str, Words] = {"Dockerfile": container_command()[-1].split()}
    for name, service in COMPOSE["services"].items():
        if "command" in service:
            found[f"compose: {name}"] = service["command"]
    for container, _ in containers():
        found[f"kubernetes: {container['name']}"] = container["command"]
    for unit in map(Unit, UNITS):
        found[f"systemd: {unit.name}"] = unit.command
    return found


def server_options(words: Words) -> dict[str, str]:
    """Return the options of a command of uvicorn."""
    text = " ".join(words).partition("agentsite.asgi:application")[2]
    return dict(re.findall(r"--([a-z-]+)[= ](\S+)", text))


SERVERS = {
    place: words for place, words in commands().items() if "uvicorn" in str(words)
}


def test_the_variables_are_settings() -> None:
    services = COMPOSE["services"].values()
    of_site = [s["environment"] for s in services if s.get("image") == "agent-stream"]
    assert len(of_site) == 4
    example = (DEPLOY / "systemd" / "environment.example").read_text()
    named = {
        *(name for environment in of_site for name in environment),
        *(name for config in manifests("ConfigMap") for name in config["data"]),
        *re.findall(r"^([A-Z_]+)=", example, re.MULTILINE),
    }
    assert named - SETTINGS == OF_SERVER


def test_a_fleet_of_compose_has_a_choice_of_authentication() -> None:
    for name in ("web1", "web2", "worker", "migrate"):
        chosen = COMPOSE["services"][name]["environment"]["AUTHENTICATION"]
        assert chosen.startswith("${AUTHENTICATION:?")


@pytest.mark.parametrize("place", commands())
def test_commands_of_the_site_exist(place: str) -> None:
    for name in re.findall(r"manage\.py (\w+)", " ".join(commands()[place])):
        assert name in get_commands()


def test_all_servers_are_started_with_the_same_options() -> None:
    assert len(SERVERS) == 5
    known = {option for each in uvicorn.main.params for option in each.opts}
    own = {"host", "port"}
    seen = []
    for words in SERVERS.values():
        options = server_options(words)
        assert {f"--{name}" for name in options} <= known
        assert own <= options.keys()
        seen.append({name: options[name] for name in options.keys() - own})
    assert all(options == seen[0] for options in seen), seen


@pytest.mark.parametrize("place", SERVERS)
def test_the_file_of_the_logs_is_in_the_image(place: str) -> None:
    assert (ROOT / server_options(SERVERS[place])["log-config"]).is_file()


def seconds(text: str) -> int:
    """Return a duration of compose or systemd in seconds."""
    return int(text.removesuffix("s"))


def test_timeouts_grow_outwards() -> None:
    drain = conf.get().drain_seconds
    [graceful] = {
        int(server_options(words)["timeout-graceful-shutdown"])
        for words in SERVERS.values()
    }
    assert drain < graceful
    for name in ("web1", "web2", "worker"):
        assert graceful < seconds(COMPOSE["services"][name]["stop_grace_period"])
    for unit in map(Unit, UNITS):
        if "Restart" in unit.service:
            assert graceful < seconds(unit.service["TimeoutStopSec"])
    for deployment in manifests("Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        stop = spec["containers"][0].get("lifecycle", {}).get("preStop")
        waited = int(stop["exec"]["command"][1]) if stop else 0
        assert waited + graceful < spec["terminationGracePeriodSeconds"]


def test_compose_names_only_what_it_has() -> None:
    services = COMPOSE["services"]
    assert {"migrate", "web1", "web2", "worker", "postgres", "redis", "nginx"} == {
        *services
    }
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                image = services[name].get("image") == "agent-stream"
                assert image or "healthcheck" in services[name]
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            known = source in COMPOSE["volumes"]
            assert known or (DEPLOY / source).is_file()
    environment = services["web1"]["environment"]
    assert "@postgres/" in environment["DATABASE_URL"]
    assert environment["REDIS_URL"].startswith("redis://redis:")


def test_nginx_passes_requests_to_the_web_services_of_compose() -> None:
    conf_text = (DEPLOY / "nginx.conf").read_text()
    servers = dict(re.findall(r"^ +server (\w+):(\d+) ", conf_text, re.MULTILINE))
    ports = {
        name.removeprefix("compose: "): server_options(words)["port"]
        for name, words in SERVERS.items()
        if name.startswith("compose: ")
    }
    assert servers == ports
    [published] = COMPOSE["services"]["nginx"]["ports"]
    assert f"listen {published.rpartition(':')[2]};" in conf_text


def labels_of(deployment: Mapping[str, Any]) -> dict[str, str]:
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return labels


def test_the_objects_of_kubernetes_name_each_other() -> None:
    deployments = {each["metadata"]["name"]: each for each in manifests("Deployment")}
    assert set(deployments) == {"agent-web", "agent-worker"}
    labels = [labels_of(each) for each in deployments.values()]
    for each in deployments.values():
        assert each["spec"]["selector"]["matchLabels"] == labels_of(each)
    for budget in manifests("PodDisruptionBudget"):
        assert budget["spec"]["selector"]["matchLabels"] in labels
    for scaler in manifests("HorizontalPodAutoscaler"):
        assert scaler["spec"]["scaleTargetRef"]["name"] in deployments
    [service] = manifests("Service")
    assert service["spec"]["selector"] == labels_of(deployments["agent-web"])
    [ingress] = manifests("Ingress")
    [path] = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"]["name"] == service["metadata"]["name"]
    config_names = {each["metadata"]["name"] for each in manifests("ConfigMap")}
    for container, _ in containers():
        sources = [each.get("configMapRef") for each in container["envFrom"]]
        assert {each["name"] for each in sources if each} == config_names


def test_the_kustomization_names_the_files_and_this_version() -> None:
    [kustomization] = manifests("Kustomization")
    files = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")}
    applied = set(kustomization["resources"])
    assert files - applied == {"kustomization.yaml", "migrate.yaml"}
    [image] = kustomization["images"]
    assert image["newTag"] == streaming.__version__
    [job] = manifests("Job")
    migrating = job["spec"]["template"]["spec"]["containers"][0]["image"]
    assert migrating == f"{image['newName']}:{image['newTag']}"


def test_the_documented_installation_creates_what_the_job_needs_before_it() -> None:
    [steps] = [each for each in fenced("deployment.md", "sh") if "kubectl" in each]
    files = [
        DEPLOY.parent / name for name in re.findall(r"deploy/\S+?(?=\)?$)", steps, re.M)
    ]
    [job] = manifests("Job")
    [container] = job["spec"]["template"]["spec"]["containers"]
    [config] = manifests("ConfigMap")
    assert {"configMapRef": {"name": config["metadata"]["name"]}} in container[
        "envFrom"
    ]
    assert [path.name for path in files] == [
        "config.yaml",
        "migrate.yaml",
        "kubernetes",
    ]
    assert all(path.exists() for path in files)
    assert "job=$(kubectl create --output name" in steps
    assert '"$job"' in steps


def test_a_worker_that_crashes_at_its_start_replaces_none() -> None:
    for deployment in manifests("Deployment"):
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        is_probed = "readinessProbe" in container
        assert is_probed or deployment["spec"]["minReadySeconds"] > 0


def test_the_metrics_are_for_prometheus_and_the_site_is_for_all() -> None:
    [policy] = manifests("NetworkPolicy")
    [selected] = policy["spec"]["podSelector"]["matchExpressions"]
    roles = [labels_of(each)[selected["key"]] for each in manifests("Deployment")]
    assert sorted(selected["values"]) == sorted(roles)
    sources = {
        port["port"]: rule.get("from")
        for rule in policy["spec"]["ingress"]
        for port in rule["ports"]
    }
    named = {port["name"] for c, _ in containers() for port in c.get("ports", [])}
    assert sources.keys() == named
    assert sources["http"] is None
    [source] = sources["metrics"]
    assert source.keys() == {"namespaceSelector", "podSelector"}


@pytest.mark.parametrize("place", ["compose", "kubernetes", "systemd"])
def test_no_organization_can_fill_the_queue_of_a_fleet(place: str) -> None:
    example = (DEPLOY / "systemd" / "environment.example").read_text()
    [config] = manifests("ConfigMap")
    given: Mapping[str, Any] = {
        "compose": COMPOSE["services"]["web1"]["environment"],
        "kubernetes": config["data"],
        "systemd": dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE)),
    }[place]
    assert given["RUN_EXECUTOR"] == "procrastinate"
    assert int(given["RUN_MAX_PER_ORG"]) > 0


def test_no_container_of_kubernetes_is_privileged() -> None:
    found = list(containers())
    assert len(found) == 3
    for container, pod in found:
        context = container["securityContext"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {each["mountPath"] for each in container["volumeMounts"]} == {"/tmp"}
    [config] = manifests("ConfigMap")
    assert config["data"]["DATA_DIR"].startswith("/tmp/")


def test_probes_lead_to_the_probes_of_the_site() -> None:
    [web] = [c for c, _ in containers() if c["name"] == "web"]
    port = next(
        each["containerPort"] for each in web["ports"] if each["name"] == "http"
    )
    assert server_options(web["command"])["port"] == str(port)
    paths = {
        name: web[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert [*paths.values()] == ["/health", "/health", "/ready"]
    for path in paths.values():
        assert resolve(path).url_name != "not-found"
    assert all(web[name]["httpGet"]["port"] == "http" for name in paths)


def installed(directory: Path) -> list[Path]:
    """Write the units with the paths and the user of this machine."""
    found = []
    for unit in UNITS:
        text = unit.read_text().replace(f"{INSTALLED}/.venv/bin", venv_programs())
        text = text.replace(INSTALLED, str(ROOT)).replace("User=agent", "User=root")
        path = directory / unit.name
        path.write_text(text)
        found.append(path)
    return found


def venv_programs() -> str:
    return str(Path(sys.executable).parent)


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    command = [need("systemd"), "verify", "--man=no", *map(str, installed(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if "agent-" in line]
    assert (done.returncode, complaints) == (0, [])


def test_systemd_would_start_a_web_process_and_wait_for_it(tmp_path: Path) -> None:
    port = free_port()
    [path] = [each for each in installed(tmp_path) if "web" in each.name]
    service = Unit(path).service
    start, then = (
        shlex.split(service[key].replace("%i", str(port)))
        for key in ("ExecStart", "ExecStartPost")
    )
    assert int(service["TimeoutStopSec"]) < 90  # systemd's own limit of a start
    environment = site_environment(tmp_path)
    server = Server(start, tmp_path, environment=environment, cwd=ROOT, port=port)
    try:
        server.launch()
        done = subprocess.run(then, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    finally:
        server.kill()


DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", "")


def copied() -> list[tuple[str, str]]:
    """Return the sources and targets of the last stage, out of the checkout."""
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    return re.findall(r"^COPY (?!--from)(\S+) (\S+)$", final, re.MULTILINE)


def test_docker_gets_all_files_that_the_image_copies() -> None:
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    named = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(named).split():
        assert (ROOT / source).exists()
        assert f"!{source}" in allowed


def test_the_image_is_small_and_its_user_has_no_rights() -> None:
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", DOCKERFILE, re.MULTILINE)
    assert [name for _, name in stages] == ["build", "libraries", ""]
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "pip install" not in final
    assert final.index("USER agent") < final.index("CMD [")
    health = re.findall(r"^HEALTHCHECK .*CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
    assert "/health" in json.loads(health[0])[-1]


def test_the_files_of_the_image_suffice(tmp_path: Path) -> None:
    image = tmp_path / "app"
    image.mkdir()
    for source, target in copied():
        path = ROOT / source
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, image / target, ignore=ignored)
        else:
            shutil.copy(path, image / target)
    environment = site_environment(tmp_path)
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    [compiled] = re.findall(r"^RUN (python .+)$", final, re.MULTILINE)
    subprocess.run(shlex.split(compiled), cwd=image, env=environment, check=True)
    assert list((image / "streaming" / "runs").glob("__pycache__/*.pyc"))
    port = free_port()
    with Server(
        container_command(),
        tmp_path,
        environment={**environment, "PORT": str(port)},
        cwd=image,
        port=port,
    ) as server:
        [check] = re.findall(r"^HEALTHCHECK .*CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
        healthy = subprocess.run(
            json.loads(check), env={**environment, "PORT": str(port)}
        )
        assert healthy.returncode == 0
        assert httpx.get(server.url).status_code == 200
    unhealthy = subprocess.run(
        json.loads(check),
        env={**clean_environment(), "PORT": str(port)},
        capture_output=True,
    )
    assert unhealthy.returncode != 0
