"""A headless Chromium, driven by the DevTools protocol through a pipe: standard library only, everything bounded in time."""
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
           "--disable-component-update", "--disable-default-apps", "--disable-extensions", "--disable-sync", "--no-first-run",
           "--no-default-browser-check", "--mute-audio", "--metrics-recording-only", "--no-pings", "--no-proxy-server",
           "--disable-features=Translate,OptimizationHints,MediaRouter,AutofillServerCommunication",
           "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost", "--remote-debugging-pipe")


def find():
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One page. events: what the protocol said meanwhile."""

    def __init__(self, seconds=120):
        self.folder = tempfile.mkdtemp(prefix="browser-")
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for pair in (os.pipe(), os.pipe()) for end in pair]
        read_there, self.write, self.read, write_there = ends

        def place():
            os.dup2(read_there, 3)
            os.dup2(write_there, 4)

        self.process = subprocess.Popen([find(), *OPTIONS, "--user-data-dir=" + self.folder, "about:blank"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=place, pass_fds=(3, 4), start_new_session=True)
        os.close(read_there)
        os.close(write_there)
        self.number, self.buffer, self.events, self.session, self.seconds = 0, b"", [], None, seconds
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Audits"):
            self.call(domain + ".enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.session = None
            self.call("Browser.close")
            self.process.wait(10)
        except Exception:  # whatever it is, it has to be gone
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def receive(self, until):
        """One message, or None at that time."""
        while b"\0" not in self.buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.read], [], [], left)[0]:
                return None
            some = os.read(self.read, 1 << 20)
            if not some:
                raise EOFError("the browser ended")
            self.buffer += some
        message, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(message)
        if "method" in message:
            self.events.append(message)
        return message

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + self.seconds
        while True:
            answer = self.receive(until)
            if answer is None:
                raise TimeoutError("%s: no answer in %d s" % (method, self.seconds))
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError("%s: %s" % (method, answer["error"].get("message")))
                return answer["result"]

    def open(self, url):
        self.call("Page.navigate", url=url)

    def run(self, script):
        """The value of an expression in the page, once its promise is kept."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:400])
        return answer["result"].get("value")

    def wait(self, script, seconds=60):
        """Until an expression is true; its value, or None."""
        until = time.monotonic() + seconds
        while True:
            value = self.run(script)
            if value or time.monotonic() > until:
                return value or None
            self.receive(time.monotonic() + 0.1)

    def put_files(self, selector, *paths):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=list(paths))

    def key(self, key, code, number):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=number)

    def size(self, width, height, scheme="light"):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def said(self, *methods):
        """What has come of these events."""
        return [e["params"] for e in self.events if e["method"] in methods]
