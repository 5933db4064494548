# A tokenizer for the specs of examples/nginx, in the place of examples/nginx/tokenizer.py: a token of a prompt is a byte,
# and what a token is in an answer may be half a character. Prompts tell it to misbehave.
#   python3 spec/support/letters_tokenizer.py SOCKET
import base64
import json
import os
import socketserver
import sys
import time

PIECES = [b"\xc3", b"\xa9", b"ab", b" "]
SIZE = 300


class Handler(socketserver.StreamRequestHandler):
    def say(self, value):
        self.wfile.write(json.dumps(value).encode() + b"\n")

    def handle(self):
        for line in self.rfile:
            request = json.loads(line)
            text = request.get("text", "")
            if request["op"] == "vocabulary":
                pieces = [PIECES[token % 4] for token in range(SIZE)]
                self.say({"size": SIZE, "ends": [65], "lengths": [len(p) for p in pieces],
                          "bytes": base64.b64encode(b"".join(pieces)).decode()})
            elif text == "wrong":
                self.say({"error": "the template says no"})
            elif text == "garbage":
                self.wfile.write(b"no JSON\n")
            elif text == "leaves":
                return
            elif text.startswith("token "):
                self.say({"tokens": [65, json.loads(text[6:])]})
            elif text == "object":
                self.say({"tokens": None})
            elif text == "nothing":
                self.say({"tokens": []})
            elif request["op"] == "chat":
                self.say({"tokens": list((request["messages"][-1]["content"] + "!").encode())})
            else:
                self.say({"tokens": list(text.encode())})


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        time.sleep(0.01)  # as on a busy machine: connections wait to be taken
        return super().get_request()


place = f"{sys.argv[1]}.{os.getpid()}"
with Server(place, Handler) as server:
    os.replace(place, sys.argv[1])
    server.serve_forever()
