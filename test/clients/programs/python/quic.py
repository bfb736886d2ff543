"""aioquic as a child of a test: commands come as JSON lines on standard input, events leave as JSON lines on standard output.

One process holds one connection. Arguments: port, application protocol, file of an authority. It checks nothing itself but the server's certificate.
"""

import asyncio
import json
import pickle
import sys

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

PORT = int(sys.argv[1])
PROTOCOL = sys.argv[2]
AUTHORITY = sys.argv[3]
# Bytes of a stream that the server may send before they are read; aioquic reads at once, so only the connection's window can hold the server up.
WINDOW = 65536


def say(**fields):
    print(json.dumps(fields), flush=True)


class Protocol(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.received = {}

    def quic_event_received(self, event):
        if isinstance(event, events.HandshakeCompleted):
            say(event="connected", alpn=event.alpn_protocol, early=event.early_data_accepted, resumed=event.session_resumed)
        elif isinstance(event, events.StreamDataReceived):
            say(event="data", stream=event.stream_id, hex=event.data.hex(), end=event.end_stream)
        elif isinstance(event, events.StreamReset):
            say(event="reset", stream=event.stream_id, code=event.error_code)
        elif isinstance(event, events.StopSendingReceived):
            say(event="stop", stream=event.stream_id, code=event.error_code)
        elif isinstance(event, events.ConnectionTerminated):
            say(event="closed", code=event.error_code, reason=event.reason_phrase)


async def open_socket(protocol, host):
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: protocol, local_addr=(host, 0))


def on_ticket(ticket):
    say(event="ticket", hex=pickle.dumps(ticket).hex())


async def main():
    configuration = QuicConfiguration(is_client=True, alpn_protocols=[PROTOCOL], server_name="localhost", max_stream_data=WINDOW)
    configuration.load_verify_locations(cafile=AUTHORITY)
    protocol = None
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        verb = command["do"]
        if verb == "connect":
            if "ticket" in command:
                configuration.session_ticket = pickle.loads(bytes.fromhex(command["ticket"]))
            connection = QuicConnection(configuration=configuration, session_ticket_handler=on_ticket)
            protocol = Protocol(connection)
            await open_socket(protocol, command.get("host", "127.0.0.1"))
            protocol.connect(("127.0.0.1", PORT), transmit=False)
            if "early" in command:
                connection.send_stream_data(0, bytes.fromhex(command["early"]))
        elif verb == "write":
            connection.send_stream_data(command["stream"], bytes.fromhex(command["hex"]), command.get("end", False))
        elif verb == "reset":
            connection.reset_stream(command["stream"], 7)
        elif verb == "stop":
            connection.stop_stream(command["stream"], 7)
        elif verb == "move":
            old = protocol._transport
            await open_socket(protocol, command["host"])
            old.close()
            if command.get("newId"):
                connection.change_connection_id()
        elif verb == "keys":
            connection.request_key_update()
        elif verb == "ping":
            await protocol.ping()
            say(event="pong")
        elif verb == "close":
            connection.close(command["code"])
        protocol.transmit()
        say(event="done", do=verb)


asyncio.run(main())
