"""A page in headless Chromium, driven by the Chrome DevTools protocol over two pipes. The standard library is enough."""

import base64
import json
import os
import select
import subprocess
import tempfile
import time


class Browser:
    """One page. `console` holds what it complained of, `requests` every address that it asked for, `posted` the JSON that
    it sent."""

    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory(prefix="ivl_page_", ignore_cleanup_errors=True)
        to_browser, self.write_end = os.pipe()
        self.read_end, from_browser = os.pipe()

        def at_3_and_4():  # the two numbers that Chromium expects; both pipes move up first, out of each other's way
            high = [os.dup(end) for end in (to_browser, from_browser, 2, 2)][:2]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--no-sandbox",
             "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
             "--disable-dev-shm-usage", f"--user-data-dir={self.folder.name}", "about:blank"],
            preexec_fn=at_3_and_4, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.rest = b""
        self.number = 0
        self.session = None
        self.console, self.requests, self.posted = [], [], []
        page = next(target for target in self.call("Target.getTargets")["targetInfos"] if target["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Accessibility", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Network.enable", maxPostDataSize=1 << 25)

    def close(self):
        self.process.terminate()
        self.process.wait()
        os.close(self.write_end)
        os.close(self.read_end)
        self.folder.cleanup()

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self.write_end, rest):]
        while True:
            answer = self.receive(30)
            if answer is None:
                raise TimeoutError(f"{method}: expected Chromium's answer within 30 s, found none")
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def receive(self, seconds):
        """The next message, which is noted if it is an event; None if there is none in time."""
        while b"\0" not in self.rest:
            if not select.select([self.read_end], [], [], seconds)[0]:
                return None
            part = os.read(self.read_end, 1 << 16)
            if not part:
                raise RuntimeError("Chromium ended")
            self.rest += part
        text, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(text)
        what = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = what["exceptionDetails"]
                self.console.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if what["type"] in ("error", "warning"):
                self.console.append(" ".join(str(argument.get("value")) for argument in what["args"]))
            case "Log.entryAdded" if what["entry"]["level"] in ("error", "warning"):
                self.console.append(f"{what['entry']['text']} {what['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(what["request"]["url"])
                if "postDataEntries" in what["request"]:
                    parts = (base64.b64decode(part["bytes"]) for part in what["request"]["postDataEntries"])
                    self.posted.append(json.loads(b"".join(parts)))
        return message

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)

    def emulate(self, scheme):
        """`light` or `dark`"""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, address):
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def value(self, expression):
        """What an expression in JavaScript, or the promise that it gives, comes to."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']['exception']['description']}")
        return result["result"].get("value")

    def wait(self, condition, seconds=20):
        end = time.monotonic() + seconds
        while not self.value(f"Boolean({condition})"):
            if time.monotonic() > end:
                raise AssertionError(f"expected {condition} within {seconds} s, found the page\n"
                                     f"{self.value('document.body.innerText')}")
            time.sleep(0.02)

    def press(self, key, code=0, shift=False, text=""):
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def enter(self):
        self.press("Enter", 13, text="\r")

    def tab(self, shift=False):
        self.press("Tab", 9, shift)

    def escape(self):
        self.press("Escape", 27)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def click(self, selector):
        box = self.value(f"(() => {{ const box = document.querySelector({json.dumps(selector)})"
                         ".getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def drop(self, *files):
        """Drops files of this machine on the middle of the page, as from a file manager."""
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        x, y = self.value("[innerWidth / 2, innerHeight / 2]")
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def choose(self, selector, *files):
        """As the file chooser does."""
        node = self.call("DOM.querySelector", nodeId=self.call("DOM.getDocument")["root"]["nodeId"], selector=selector)
        self.call("DOM.setFileInputFiles", files=[str(file) for file in files], nodeId=node["nodeId"])
