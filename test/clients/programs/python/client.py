"""Paho Python as a child of a test: commands come as JSON lines on standard input, answers and messages leave as JSON lines on standard output.

One process holds several clients of one protocol version (`3`, `4` or `5`, the second argument; the first is the port). It checks nothing itself.
"""

import json
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PORT = int(sys.argv[1])
VERSION = int(sys.argv[2])
IS_V5 = VERSION == mqtt.MQTTv5
WAIT_SECONDS = 20

output = threading.Lock()
clients = {}


def say(**fields):
    with output:
        print(json.dumps(fields), flush=True)


class Client:
    """One connection, and what its callbacks have told so far."""

    def __init__(self, name, command):
        self.name = name
        self.told = threading.Condition()
        self.connected = None
        self.subscribed = {}
        self.published = {}
        session = command.get("sessionSeconds", 0)
        options = {} if IS_V5 else {"clean_session": session == 0}
        self.mqtt = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=command["clientId"], protocol=VERSION, **options)
        self.mqtt.max_inflight_messages_set(100)
        self.mqtt.on_connect = self.on_connect
        self.mqtt.on_subscribe = lambda c, u, mid, codes, p: self.note(self.subscribed, mid, codes[0].value)
        self.mqtt.on_publish = lambda c, u, mid, code, p: self.note(self.published, mid, (code.value, p))
        self.mqtt.on_message = self.on_message
        will = command.get("will")
        if will is not None:
            self.mqtt.will_set(will["topic"], will["payload"], will["qos"], will["retain"])
        if IS_V5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = session
            self.mqtt.connect("127.0.0.1", PORT, clean_start=session == 0, properties=properties)
        else:
            self.mqtt.connect("127.0.0.1", PORT)
        self.mqtt.loop_start()

    def on_connect(self, client, userdata, flags, code, properties):
        with self.told:
            self.connected = (flags.session_present, code)
            self.told.notify_all()

    def note(self, table, key, value):
        with self.told:
            table[key] = value
            self.told.notify_all()

    def wait(self, ready):
        with self.told:
            if not self.told.wait_for(ready, WAIT_SECONDS):
                raise TimeoutError("no answer from the broker")

    def on_message(self, client, userdata, message):
        properties = getattr(message, "properties", None)
        correlation = getattr(properties, "CorrelationData", None)
        say(
            client=self.name,
            message={
                "topic": message.topic,
                "payload": message.payload.decode(),
                "qos": message.qos,
                "retain": message.retain,
                "userProperties": getattr(properties, "UserProperty", []),
                "correlationData": None if correlation is None else correlation.decode(),
            },
        )


def connect(name, command):
    client = clients[name] = Client(name, command)
    client.wait(lambda: client.connected is not None)
    session_present, code = client.connected
    if code.is_failure:
        raise RuntimeError(str(code))
    return {"sessionPresent": session_present}


def subscribe(name, command):
    client = clients[name]
    _, mid = client.mqtt.subscribe(command["filter"], command["qos"])
    client.wait(lambda: mid in client.subscribed)
    return {"code": client.subscribed[mid]}


def publish(name, command):
    client = clients[name]
    properties = None
    if IS_V5:
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [tuple(pair) for pair in command.get("userProperties", [])]
        if "responseTopic" in command:
            properties.ResponseTopic = command["responseTopic"]
            properties.CorrelationData = command["correlationData"].encode()
    sent = [client.mqtt.publish(command["topic"], payload, command["qos"], command["retain"], properties) for payload in command["payloads"]]
    client.wait(lambda: all(info.mid in client.published for info in sent))
    code, answer = client.published[sent[-1].mid]
    return {"code": code, "userProperties": getattr(answer, "UserProperty", [])}


def disconnect(name, command):
    client = clients.pop(name)
    client.mqtt.disconnect()
    client.mqtt.loop_stop()
    return {}


COMMANDS = {"connect": connect, "subscribe": subscribe, "publish": publish, "disconnect": disconnect}

for line in sys.stdin:
    request = json.loads(line)
    try:
        say(id=request["id"], answer=COMMANDS[request["do"]](request["client"], request))
    except Exception as error:
        say(id=request["id"], error=f"{type(error).__name__}: {error}")
