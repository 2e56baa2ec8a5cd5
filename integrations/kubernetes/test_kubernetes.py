"""The manifests without a cluster: they parse, their names agree, and the server answers what they ask of it.

Needs a model in $FOVEATE_MODEL, and the program in $FOVEATE or on the path.
"""

import os
import pathlib
import re
import signal
import subprocess
import tomllib
import urllib.error
import urllib.request

import pytest
import yaml

HERE = pathlib.Path(__file__).parent
PROGRAM = os.environ.get("FOVEATE", "foveate")
MANIFESTS = [part for name in ("foveate.yaml", "scale.yaml") for part in yaml.safe_load_all((HERE / name).read_text())]


def manifest(kind):
    [found] = [part for part in MANIFESTS if part["kind"] == kind]
    return found


def pod():
    return manifest("Deployment")["spec"]["template"]


def container():
    [found] = pod()["spec"]["containers"]
    return found


def get(address):
    try:
        with urllib.request.urlopen(address, timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The server with the settings of the manifest, but for the model's folder, the address and the number of threads."""
    path = tmp_path_factory.mktemp("config") / "serve.toml"
    path.write_text(manifest("ConfigMap")["data"]["serve.toml"])
    command = [PROGRAM, "serve", "--config", path, "--model", os.environ["FOVEATE_MODEL"], "--host", "127.0.0.1"]
    command += ["--port", "0", "--threads", "1"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = process.stdout.readline()
    assert line.startswith("listening on http://"), line
    yield line.split()[-1]
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(60) == 0
    finally:
        process.kill()


def test_names_agree():
    labels = pod()["metadata"]["labels"]
    assert manifest("Deployment")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert manifest("Service")["spec"]["selector"].items() <= labels.items()
    target = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", manifest("Deployment")["metadata"]["name"])
    volumes = {volume["name"]: volume for volume in pod()["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == manifest("ConfigMap")["metadata"]["name"]
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert claim == manifest("PersistentVolumeClaim")["metadata"]["name"]
    for one in [container(), *pod()["spec"]["initContainers"]]:
        assert {mount["name"] for mount in one["volumeMounts"]} <= volumes.keys()
        assert one["securityContext"]["readOnlyRootFilesystem"] and not one["securityContext"]["allowPrivilegeEscalation"]


def test_ports_paths_and_times_agree():
    settings = tomllib.loads(manifest("ConfigMap")["data"]["serve.toml"])
    [port] = container()["ports"]
    assert settings["port"] == port["containerPort"] == int(pod()["metadata"]["annotations"]["prometheus.io/port"])
    assert manifest("Service")["spec"]["ports"][0]["targetPort"] == port["name"]
    [models] = [mount["mountPath"] for mount in container()["volumeMounts"] if mount["name"] == "models"]
    assert all(model.startswith(models + "/") for model in settings["model"])
    [pull] = pod()["spec"]["initContainers"]
    assert pull["args"][-1] == models
    listed = subprocess.run([PROGRAM, "pull"], capture_output=True, text=True, check=True).stdout
    assert pull["args"][1] in listed
    assert pod()["spec"]["terminationGracePeriodSeconds"] > settings["patience"]


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_are_answered(server, probe):
    probed = container()[probe]["httpGet"]
    assert probed["port"] == container()["ports"][0]["name"]
    assert get(server + probed["path"])[0] == 200


def test_the_metric_of_the_queue_is_there(server):
    [scaled] = manifest("HorizontalPodAutoscaler")["spec"]["metrics"]
    status, text = get(server + pod()["metadata"]["annotations"]["prometheus.io/path"])
    assert status == 200
    assert re.search(rf"^{scaled['pods']['metric']['name']}\{{.*\}} 0$", text, re.M), text


def test_the_image_has_what_the_manifest_starts():
    lines = (HERE / "Containerfile").read_text().splitlines()
    words = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    user = str(pod()["spec"]["securityContext"]["runAsUser"])
    assert ["USER", f"{user}:{user}"] in words and ["EXPOSE", "8080"] in words
    assert ["ENTRYPOINT", '["/usr/local/bin/foveate"]'] in words
    [toolchain] = re.findall(r'channel = "([\d.]+)\.\d+"', (HERE / "../../rust-toolchain.toml").read_text())
    assert any(word[0] == "FROM" and f"rust:{toolchain}-" in word[1] for word in words)
    # The build command is one of this workspace: cargo refuses unknown packages, features and a stale Cargo.lock.
    [build] = [word[1] for word in words if word[0] == "RUN" and word[1].startswith("cargo build")]
    tree = ["cargo", "tree", "--depth", "0", *[flag for flag in build.split()[2:] if flag != "--release"]]
    found = subprocess.run(tree, cwd=HERE / "../..", capture_output=True, text=True)
    assert found.returncode == 0 and found.stdout.startswith("foveate v"), found
