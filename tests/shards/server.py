"""A server on the loopback that hands out files, well or badly: each request for a path takes its next trouble."""

import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pipeline.base.machine import Reading


class Server(ThreadingHTTPServer):
    """`files` by path; `troubles`: what goes wrong with the next requests for a path, `always`: with all of them.

    A trouble is one of stall (nothing after some bytes), cut (the connection ends after some bytes), short (a whole
    answer of too few bytes), flip (one wrong bit), whole (no ranges), slow, a status, or a URL to be sent on to.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.troubles, self.always, self.asked = {}, {}, {}, []
        self.ended = threading.Event()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request, client_address):
        pass  # a client that goes away


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, path = self.server, self.path.partition("?")[0]
        server.asked.append((path, self.headers["Range"]))
        mine = server.troubles.get(path)
        trouble = mine.pop(0) if mine else server.always.get(path)
        if path not in server.files:
            return self.send_error(404)
        if isinstance(trouble, int):
            return self.send_error(trouble)
        if isinstance(trouble, str) and ":" in trouble:
            self.send_response(302)
            self.send_header("Location", trouble)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        data, start, asked = server.files[path], 0, re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if asked and trouble != "whole":
            start = int(asked[1])
            if start >= len(data):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        body = data[start:]
        if trouble == "short":
            body = body[:-100]
        if trouble == "flip":
            body = body[:700] + bytes([body[700] ^ 1]) + body[701:]
        if trouble != "mute":
            self.send_header("Content-Length", str(len(body)))
        else:
            self.close_connection = True
        self.end_headers()
        if trouble in ("stall", "cut"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            server.ended.wait(20 if trouble == "stall" else 0.1)  # what was sent is read before the end is seen
            self.close_connection = True
            return None
        for at in range(0, len(body), 4096):
            self.wfile.write(body[at : at + 4096])
            if trouble == "slow":
                time.sleep(0.005)
        return None

    def log_message(self, *args):
        pass


@contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def reading(folder, **changes):
    values = {"cache_dir": str(folder), "cache_mb": 100.0, "retries": 2, "wait_s": 0.01, "timeout_s": 0.3}
    return Reading(**{**values, **changes})


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
