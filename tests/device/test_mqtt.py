"""`--mqtt` and `oddeven fleet` against a real mosquitto with TLS and passwords."""

from __future__ import annotations

import getpass
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oddeven.runtime.errors import UsageError
from oddeven.runtime.fleet.broker import Broker, parse_broker
from oddeven.runtime.fleet.discovery import discovery
from oddeven.runtime.fleet.outbox import Outbox
from oddeven.runtime.fleet.overview import HEADER, Device, rows, to_html

pytestmark = pytest.mark.slow

PASSWORD = "a secret that nobody may see"
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
CONFIG = """listener {port} 127.0.0.1
cafile {folder}/ca.crt
certfile {folder}/server.crt
keyfile {folder}/server.key
password_file {folder}/passwords
allow_anonymous false
persistence true
persistence_location {folder}/
autosave_interval 1
autosave_on_changes true
user {user}
"""
CERTIFICATES = """openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=oddeven-test -keyout ca.key -out ca.crt
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr
echo subjectAltName=DNS:localhost >san
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.crt"""


class Mosquitto:
    """A broker that can be killed and started again."""

    def __init__(self, folder):
        self.folder = folder
        subprocess.run(["sh", "-ec", CERTIFICATES], cwd=folder, check=True, capture_output=True)
        (folder / "passwords").write_text(f"pi:{PASSWORD}\n")
        subprocess.run(["mosquitto_passwd", "-U", "passwords"], cwd=folder, check=True)
        (folder / "password").write_text(f"{PASSWORD}\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (folder / "mosquitto.conf").write_text(CONFIG.format(port=self.port, folder=folder, user=getpass.getuser()))
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", self.folder / "mosquitto.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.listens)

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def end(self):
        """By SIGTERM: after SIGKILL mosquitto may lack messages that it has acknowledged but not saved yet."""
        self.process.terminate()
        self.process.wait()

    @property
    def options(self):
        url = f"mqtts://pi@localhost:{self.port}/shop"
        return "--mqtt", url, "--mqtt-ca", self.folder / "ca.crt", "--mqtt-password-file", self.folder / "password"


@pytest.fixture
def broker(tmp_path_factory):
    if not MOSQUITTO:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there is no mosquitto here")
    mosquitto = Mosquitto(tmp_path_factory.mktemp("broker"))
    mosquitto.start()
    yield mosquitto
    mosquitto.kill()


@pytest.fixture
def heard(broker):
    """Everything that is published, (topic, payload), in a session that the broker keeps."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    messages = []
    client = Client(CallbackAPIVersion.VERSION2, client_id="test", clean_session=False)
    client.username_pw_set("pi", PASSWORD)
    client.tls_set(ca_certs=str(broker.folder / "ca.crt"))
    client.reconnect_delay_set(1, 1)
    subscribed = threading.Event()

    def on_connect(client, userdata, flags, *_):
        if not flags.session_present:  # a second subscription would bring what is retained once more
            client.subscribe("#", qos=1)

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda *given: messages.append((given[2].topic, given[2].payload))
    client.connect("localhost", broker.port)
    client.loop_start()
    assert subscribed.wait(60)
    yield messages, client
    client.disconnect()
    client.loop_stop()


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def keys(messages):
    """The keys of what came on `state`, each once, in the order they first came."""
    lines = [json.loads(payload) for topic, payload in messages if topic.endswith("/state")]
    return list(dict.fromkeys((line["file"], line["mtime_ns"]) for line in lines))


def journalled(out):
    return [(line["file"], line["mtime_ns"]) for line in map(json.loads, out.read_text().splitlines())]


@pytest.mark.slow
def test_a_broker_that_ends_under_load_gets_every_prediction_in_order(broker, heard, pictures, start, run, tmp_path):
    messages, client = heard
    made, inbox, out = tmp_path / "made", tmp_path / "inbox", tmp_path / "out.jsonl"
    pictures(1200, made)
    inbox.mkdir()
    process = start("watch", inbox, "--out", out, "--model", "mlp", "--interval", "0.05", *broker.options)
    for number, path in enumerate(sorted(made.iterdir())):
        path.rename(inbox / path.name)
        if number % 300 == 150:
            wait_for(client.is_connected)
            wait_for(lambda number=number: len(keys(messages)) >= number // 2)
            broker.end()
        if number % 300 == 299:
            wait_for(lambda number=number: out.exists() and len(journalled(out)) > number)  # it goes on without
            broker.start()
    wait_for(lambda: len(keys(messages)) == 1200)
    assert keys(messages) == journalled(out)
    second = run("watch", inbox, "--out", out, "--model", "mlp", "--once")
    assert (second.returncode, "Another process writes to" in second.stderr) == (2, True)
    process.terminate()
    assert process.wait() == 0
    assert int(Path(f"{out}.sent").read_text()) == out.stat().st_size


def test_a_connection_that_is_lost_while_lines_are_sent_ends_nothing(tmp_path):
    journal = tmp_path / "out.jsonl"
    journal.write_text('{"file": "a.png", "label": "odd", "mtime_ns": 1}\n' * 2)
    (tmp_path / "out.jsonl.sent").mkdir()  # nor does that this cannot be written
    outbox = Outbox(Broker("localhost", 1, False, "shop"), "pi", journal, dict, {})
    client = outbox._client  # is not connected, as in the moment after it was asked
    numbers, publish = [], client.publish
    client.publish = lambda *given, **more: (info := publish(*given, **more), numbers.append(info.mid))[0]
    with journal.open("rb") as lines, ThreadPoolExecutor(1) as pool:
        offset = pool.submit(outbox._send_from, lines, 0)
        wait_for(lambda: len(numbers) == 2)
        for number in numbers:
            assert not offset.done()
            client.on_publish(client, None, number, None, None)
        assert offset.result(60) == journal.stat().st_size


def test_what_was_predicted_without_a_broker_is_sent_later_and_once(broker, heard, pictures, run, tmp_path):
    messages, _ = heard
    expected = pictures(5)
    out = tmp_path / "out.jsonl"
    watch = ("watch", tmp_path / "inbox", "--out", out, "--model", "mlp", "--once")
    broker.end()
    done = run(*watch, *broker.options)
    assert done.returncode == 0
    assert done.stderr.count("the broker does not take the predictions yet") == 1
    assert len(journalled(out)) == 5
    broker.start()
    for _ in range(2):
        assert run(*watch, *broker.options).returncode == 0
    wait_for(lambda: len(keys(messages)) == 5)
    states = [json.loads(payload) for topic, payload in messages if topic.endswith("/state")]
    assert {state["file"]: state["label"] for state in states} == expected
    assert len(states) == 5


@pytest.mark.parametrize("wrong", ["password", "certificate"])
def test_a_wrong_password_or_an_unknown_certificate_sends_nothing_and_stops_nothing(
    broker, heard, pictures, run, tmp_path, wrong
):
    messages, _ = heard
    pictures(1)
    url, *rest = broker.options[1:]
    if wrong == "password":
        (broker.folder / "password").write_text("guessed")
    else:
        rest = rest[2:]  # the system's authorities
    done = run(
        "watch", tmp_path / "inbox", "--out", tmp_path / "o.jsonl", "--model", "mlp", "--once", "--mqtt", url, *rest
    )
    assert done.returncode == 0, done.stderr
    assert "the broker does not take the predictions yet" in done.stderr
    assert not messages
    fleet = run("fleet", "--mqtt", url, *rest)
    assert fleet.returncode == 5
    for stderr in (done.stderr, fleet.stderr):
        assert ("its certificate is not trusted" in stderr) == (wrong == "certificate")


def test_a_device_appears_is_asked_for_a_self_test_and_is_offline_when_killed(broker, heard, start, run, tmp_path):
    messages, client = heard
    (tmp_path / "inbox").mkdir()
    options = (*broker.options, "--mqtt-name", "pi 1")
    process = start("watch", tmp_path / "inbox", "--out", tmp_path / "o.jsonl", "--model", "mlp", *options)
    wait_for(lambda: any(topic == "shop/pi-1/about" for topic, _ in messages))
    assert ("shop/pi-1/availability", b"online") in messages
    found = dict(messages)
    about = json.loads(found["shop/pi-1/about"])
    assert (about["selftest"], about["model"]) == ("passed", "mlp")
    check_discovery(json.loads(found["homeassistant/device/oddeven-pi-1/config"]))
    arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert PASSWORD.encode() not in arguments
    count = len(messages)
    client.publish("shop/pi-1/command", b"rm -rf /", qos=1)
    client.publish("shop/pi-1/command", b"selftest", qos=1)
    wait_for(lambda: any(topic == "shop/pi-1/about" for topic, _ in messages[count:]))
    html = tmp_path / "fleet.html"
    done = run("fleet", *broker.options, "--html", html)
    assert done.returncode == 0, done.stderr
    assert "online" in done.stdout
    assert "passed" in done.stdout
    assert "pi-1" in html.read_text()
    process.kill()
    wait_for(lambda: ("shop/pi-1/availability", b"offline") in messages)
    (device,) = map(json.loads, run("fleet", *broker.options, "--json").stdout.splitlines())
    assert device["available"] is False
    everything = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [content for content in everything if PASSWORD.encode() in content]


def test_a_threshold_within_bounds_and_a_snapshot_only_where_the_device_allows_them(
    broker, heard, pictures, raw, start, tmp_path
):
    messages, client = heard

    def about(device):
        return json.loads(dict(messages)[f"shop/{device}/about"])

    def ask(device, command):
        client.publish(f"shop/{device}/command", command, qos=1)

    pictures(1)
    (tmp_path / "inbox" / "00000.png").rename(tmp_path / "inbox" / "new\nline.png")
    allowed = ("--mqtt-threshold", "0.3", "0.7", "--mqtt-snapshot")
    for device, options in (("open", allowed), ("shut", ())):
        named = (*broker.options, "--mqtt-name", device, *options)
        out = tmp_path / f"{device}.jsonl"
        start("watch", tmp_path / "inbox", "--out", out, "--model", "mlp", *named)
        wait_for(lambda device=device: {f"shop/{device}/state", f"shop/{device}/about"} <= set(dict(messages)))
    ask("open", "threshold 0.6")
    wait_for(lambda: about("open")["threshold"] == 0.6)
    for wrong, word in (("0.71", "0.71"), ("nan", "nan"), ("half", "'half'"), ("1e999", "inf"), ("", "''")):
        ask("open", f"threshold {wrong}")
        wait_for(lambda word=word: f"refused: {word}" in about("open")["commands"]["threshold"])
        assert about("open")["threshold"] == 0.6
    ask("open", "snapshot")
    wait_for(lambda: "shop/open/snapshot" in dict(messages))
    with Image.open(io.BytesIO(dict(messages)["shop/open/snapshot"])) as image:
        assert np.array_equal(image, raw["x_test"][0])
    count = len(messages)
    for command in ("threshold 0.6", "snapshot", "snapshot" * 10_000, "selftest"):
        ask("shut", command)
    wait_for(lambda: any(topic == "shop/shut/about" for topic, _ in messages[count:]))
    assert (about("shut")["threshold"], about("shut")["commands"]) == (0.5, {"selftest": "passed"})
    assert "shop/shut/snapshot" not in dict(messages)


def test_a_camera_sends_the_changes_of_its_steady_label(broker, heard, video, run, tmp_path):
    messages, _ = heard
    clip = video([0, 1, 2], each=4)
    camera = ("camera", "--source", clip, "--model", "mlp", "--journal", tmp_path / "c.jsonl", *broker.options)
    assert run(*camera).returncode == 0
    wait_for(lambda: len(keys(messages)) == 3)
    states = [json.loads(payload) for topic, payload in messages if topic.endswith("/state")]
    assert [state["label"] for state in states] == ["odd", "even", "odd"]
    assert [key[1] for key in keys(messages)] == sorted(key[1] for key in keys(messages))


# Home Assistant, "MQTT", sections "Device discovery payload" and the configuration variables of the two platforms.
SHARED = {"device", "origin", "components", "availability_topic", "qos"}
OF_A_DEVICE = {"identifiers", "name", "manufacturer", "model", "sw_version"}
OF_AN_ENTITY = {
    "platform", "name", "unique_id", "state_topic", "value_template", "entity_category", "device_class",
    "unit_of_measurement", "suggested_display_precision",
}  # fmt: skip
CLASSES = {"sensor": {"duration", "temperature"}, "binary_sensor": {"problem"}}
UNITS = {"duration": {"d", "h", "min", "s", "ms"}, "temperature": {"°C", "°F", "K"}}


def check_discovery(config):
    assert set(config) <= SHARED
    assert {"device", "origin", "components"} <= set(config)
    assert set(config["device"]) <= OF_A_DEVICE
    assert config["device"]["identifiers"]
    assert config["origin"]["name"]
    unique = [entity["unique_id"] for entity in config["components"].values()]
    assert len(set(unique)) == len(unique) >= 5
    for entity in config["components"].values():
        assert set(entity) <= OF_AN_ENTITY
        assert {"platform", "unique_id", "state_topic", "value_template"} <= set(entity)
        kind = entity.get("device_class")
        assert kind is None or kind in CLASSES[entity["platform"]]
        assert ("unit_of_measurement" in entity) == (kind in UNITS)
        assert kind not in UNITS or entity["unit_of_measurement"] in UNITS[kind]
        assert entity.get("entity_category") in (None, "diagnostic")


def test_discovery_leaves_out_what_the_device_does_not_know():
    about = {
        "host": "h",
        "model": "m",
        "version": "1",
        "model_sha256": "0",
        "temperature_c": None,
        "selftest": "passed",
    }
    config = discovery("t/d", "d", about)
    check_discovery(config)
    assert {"label", "unknown", "model", "selftest"} <= set(config["components"])
    assert not {"temperature", "latency", "familiarity", "drift"} & set(config["components"])
    assert "familiarity" not in discovery("t/d", "d", {**about, "familiarity": False})["components"]
    everything = discovery("t/d", "d", {**about, "familiarity": True, "drift": {}})
    check_discovery(everything)
    assert {"familiarity", "drift"} <= set(everything["components"])


def test_templates_of_home_assistant_give_what_the_entities_show():
    jinja2 = pytest.importorskip("jinja2")
    about = {
        "host": "h", "model": "m", "version": "1", "model_sha256": "0" * 64, "selftest": "passed",
        "familiarity": True, "drift": {},
    }  # fmt: skip
    entities = discovery("t/d", "d", about)["components"]
    for entity, value, shown in (
        ("label", {"label": "odd"}, "odd"),
        ("unknown", {"label": "odd"}, "OFF"),
        ("unknown", {"label": "uncertain"}, "ON"),
        ("model", about, "0" * 12),
        ("selftest", {"selftest": "FAILED"}, "ON"),
        ("unknown", {"label": "unknown"}, "ON"),
        ("familiarity", {"familiarity": 0.25}, "0.25"),
        ("familiarity", {"label": "uncertain"}, "None"),  # which Home Assistant shows as unknown
        ("drift", about, "OFF"),
        ("drift", {"drift": {"even": 0.8}}, "ON"),
    ):
        assert jinja2.Template(entities[entity]["value_template"]).render(value_json=value) == shown


@pytest.mark.parametrize(
    ("url", "word"),
    [("mqtts://pi:hunter2@host/t", "password"), ("http://host", "expected"), ("mqtts://host/a+b", "wildcard"),
     ("mqtts://host:port", "wrong"), ("mqtt://pi@host", "without encryption")],
)  # fmt: skip
def test_an_unsafe_or_wrong_url_is_refused_and_no_password_is_repeated(url, word, monkeypatch):
    monkeypatch.setenv("ODDEVEN_MQTT_PASSWORD", PASSWORD)
    with pytest.raises(UsageError, match=word) as caught:
        parse_broker(url, None, None)
    assert "hunter2" not in str(caught.value)
    assert PASSWORD not in repr(parse_broker("mqtts://pi@host", None, None))


def test_the_table_shows_what_has_drifted():
    devices = [Device("a", True, {"drift": {"even": 0.8}}), Device("b", True, {"drift": {}}), Device("c")]
    column = HEADER.index("drift")
    assert [row[column] for row in rows(devices, 0.0)] == ["even 80%", "none", "-"]
    assert to_html(devices, "t", 0.0).count('INCONCLUSIVE"') == 1


def test_a_hostile_device_cannot_break_the_table_or_the_page():
    nonsense = [
        Device("<script>alert(1)</script>\x1b[2J", True, {"time": "now", "labels": {"<b>": 3, "x": "y", "z": -1}}),
        Device(
            "a" * 500,
            False,
            {
                "drift": {"<b>" * 99: 0.5, "y": "z"},
                "model": ["x"],
                "model_sha256": None,
                "labels": [],
                "time": 10**30,
                "selftest": {},
            },
        ),
        *(Device("far", True, {"time": time, "labels": {"odd": 10**400, "even": 1}}) for time in (10**400, -(10**400))),
    ]
    for row in rows(nonsense, 0.0):
        assert all(cell.isprintable() and len(cell) < 200 for cell in row)
    page = to_html(nonsense, "<topic>", 0.0)
    assert "<script>" not in page
    assert "<b>" not in page


def test_help_loads_no_mqtt():
    code = "import sys; from oddeven.runtime.cli.main import cli; cli.main(['watch', '--help'], standalone_mode=False)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit('paho' in sys.modules)"], capture_output=True, check=False
    )
    assert done.returncode == 0
