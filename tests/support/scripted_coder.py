"""A model server on loopback that drives a real coding agent: it reads a file, edits it, ends.

It speaks Anthropic's Messages, OpenAI's Responses and chat completions, as streams or not, and
calls whatever tools the agent offers. Which change it makes is the first of `edits` whose old line
occurs in what the agent has shown of the file.

    with ScriptedCoder({"gen/train.py": [("LR = 0.1", "LR = 0.2")]}) as server:
        ... base_url=server.url (Anthropic) or f"{server.url}/v1" (OpenAI) ...
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HYPOTHESIS = "HYPOTHESIS: a better value leaves more of the budget to what counts"

ROOT = "/scratch/genome"

USAGE = (1000, 50)

BLOCK = "{path}\n```\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n```\n"

SHELLS = ("bash", "shell", "shell_command", "exec_command", "local_shell")


class ScriptedCoder:
    """The server. `edits`: old and new lines by path; `requests`: the bodies that came."""

    def __init__(self, edits):
        self.edits, self.requests = edits, []
        coder = self

        class Handler(_Handler):
            server_coder = coder

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def step(self, shown, tools, done):
        """Return a tool call (name, arguments), or the text that ends the run.

        shown: all text of the conversation; tools: schemas by name; done: tools called so far.
        """
        path, old, new = self._edit(shown)
        if not tools:
            block = BLOCK.format(path=path, old=old, new=new) if old else ""
            return f"{HYPOTHESIS}\n\n{block}" if "SEARCH" in shown else "yes"
        if done == 0:
            return _read(path, tools)
        if done == 1 and old:
            return _edit(path, old, new, tools)
        return _finish(tools)

    def _edit(self, shown):
        for path, edits in self.edits.items():
            for old, new in edits:
                if old in shown.replace('\\"', '"'):
                    return path, old, new
        return next(iter(self.edits)), "", ""


def _tool(tools, *wanted):
    named = {name.lower(): name for name in tools}
    return next((named[one] for one in wanted if one in named), None)


def _read(path, tools):
    name = _tool(tools, "read", "read_file")
    if name is None:
        return _shell(f"cat {ROOT}/{path}", tools)
    return name, {_key(tools[name], "file_path", "filePath", "path"): f"{ROOT}/{path}"}


def _edit(path, old, new, tools):
    name = _tool(tools, "edit", "replace")
    if name is None:
        quoted = [text.replace("/", r"\/").replace(".", r"\.") for text in (old, new)]
        return _shell(f"sed -i 's/{quoted[0]}/{new}/' {ROOT}/{path}", tools)
    schema = tools[name]
    return name, {
        _key(schema, "file_path", "filePath", "path"): f"{ROOT}/{path}",
        _key(schema, "old_string", "oldString"): old,
        _key(schema, "new_string", "newString"): new,
    }


def _finish(tools):
    if set(tools) == {"bash"}:  # mini-swe-agent ends by a command
        echo = f"echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && echo '{HYPOTHESIS}'"
        return _shell(echo, tools)
    return HYPOTHESIS


def _shell(command, tools):
    name = _tool(tools, *SHELLS)
    properties = (tools[name] or {}).get("properties", {})
    if "cmd" in properties:
        return name, {"cmd": command}
    many = properties.get("command", {}).get("type") == "array"
    return name, {"command": ["bash", "-lc", command] if many else command}


def _key(schema, *names):
    return next(name for name in names if name in (schema or {}).get("properties", {}))


def _texts(value):
    """Yield every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Say nothing."""

    def do_GET(self):
        self._json({"object": "list", "data": []})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
        path = self.path.partition("?")[0]
        self.server_coder.requests.append({"path": path, **body})
        if path.endswith("/messages"):
            self._messages(body)
        elif path.endswith("/responses"):
            self._responses(body)
        else:
            self._chat(body)

    def _next(self, shown, tools, done):
        return self.server_coder.step("\n".join(_texts(shown)), tools, done)

    def _messages(self, body):
        tools = {tool["name"]: tool.get("input_schema") for tool in body.get("tools", [])}
        contents = [turn["content"] for turn in body["messages"]]
        parts = [part for content in contents if isinstance(content, list) for part in content]
        done = sum(part["type"] == "tool_result" for part in parts)
        said = self._next(body["messages"], tools, done)
        usage = {"input_tokens": USAGE[0], "output_tokens": USAGE[1]}
        block, delta, stop = {"type": "text", "text": ""}, {"type": "text_delta", "text": said}, ""
        if isinstance(said, tuple):
            block = {"type": "tool_use", "id": f"toolu_{done}", "name": said[0], "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(said[1])}
            stop = "tool_use"
        stop = stop or "end_turn"
        message = {"id": "msg", "type": "message", "role": "assistant", "model": body["model"]}
        message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        if not body.get("stream"):
            whole = {**block, "text": said} if stop == "end_turn" else {**block, "input": said[1]}
            self._json({**message, "content": [whole], "stop_reason": stop})
            return
        end = {"stop_reason": stop, "stop_sequence": None}
        self._events(
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": end, "usage": {"output_tokens": USAGE[1]}},
            {"type": "message_stop"},
        )

    def _responses(self, body):
        tools = {tool.get("name"): tool.get("parameters") for tool in body.get("tools", [])}
        items = [item for item in body["input"] if isinstance(item, dict)]
        done = sum(str(item.get("type")).endswith("_output") for item in items)
        said = self._next(items, tools, done)
        item = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
        if isinstance(said, tuple):
            item = {"type": "function_call", "id": f"f{done}", "call_id": f"c{done}"}
            item |= {"name": said[0], "arguments": json.dumps(said[1]), "status": "completed"}
        else:
            item["content"] = [{"type": "output_text", "text": said, "annotations": []}]
        usage = {"input_tokens": USAGE[0], "output_tokens": USAGE[1], "total_tokens": sum(USAGE)}
        usage |= {"input_tokens_details": {"cached_tokens": 0}}
        usage |= {"output_tokens_details": {"reasoning_tokens": 0}}
        response = {"id": f"r{done}", "object": "response", "created_at": 1, "error": None}
        response |= {"status": "completed", "model": body["model"], "output": [item]}
        response |= {"usage": usage, "incomplete_details": None}
        if not body.get("stream"):
            self._json(response)
            return
        begun = {**response, "status": "in_progress", "output": [], "usage": None}
        self._events(
            {"type": "response.created", "sequence_number": 0, "response": begun},
            {"type": "response.output_item.done", "sequence_number": 1, "output_index": 0}
            | {"item": item},
            {"type": "response.completed", "sequence_number": 2, "response": response},
        )

    def _chat(self, body):
        functions = [tool["function"] for tool in body.get("tools") or []]
        tools = {function["name"]: function.get("parameters") for function in functions}
        done = sum(turn["role"] == "tool" for turn in body["messages"])
        said = self._next(body["messages"], tools, done)
        message, finish = {"role": "assistant", "content": said}, "stop"
        if isinstance(said, tuple):
            function = {"name": said[0], "arguments": json.dumps(said[1])}
            made = [{"index": 0, "id": f"c{done}", "type": "function", "function": function}]
            message, finish = (
                {"role": "assistant", "content": None, "tool_calls": made},
                "tool_calls",
            )
        usage = {"prompt_tokens": USAGE[0], "completion_tokens": USAGE[1]}
        usage |= {"total_tokens": sum(USAGE)}
        base = {"id": f"chat{done}", "created": 1, "model": body["model"]}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish}
            self._json({**base, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        chunk = {**base, "object": "chat.completion.chunk"}
        first, last = (
            {"index": 0, "delta": d, "finish_reason": f} for d, f in ((message, None), ({}, finish))
        )
        self._events(
            {**chunk, "choices": [first]},
            {**chunk, "choices": [last]},
            {**chunk, "choices": [], "usage": usage},
            "[DONE]",
        )

    def _json(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _events(self, *events):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in events:
            named = isinstance(event, dict) and "type" in event
            head = f"event: {event['type']}\n" if named else ""
            text = event if isinstance(event, str) else json.dumps(event)
            self.wfile.write(f"{head}data: {text}\n\n".encode())
        self.close_connection = True
