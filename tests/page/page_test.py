"""The page of `serve` in headless Chromium, as a user meets it: with a pointer, by keyboard alone, through a screen reader.

    python3 page_test.py --serve build/release/bin/serve     starts it, on the bundled toy
    python3 page_test.py --address http://127.0.0.1:8000     or tests what runs there

What a server does rarely (to break off, to ask for a key, to cut a character in two) is told to the page by a `fetch` of
ours; the rest is the server's own. Exits with 77 where there is no Chromium.
"""

import argparse
import base64
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from browser import Browser

root = pathlib.Path(__file__).resolve().parents[2]
demo = root / "examples/drawn_scenes/demo"
turns = "document.querySelectorAll('article')"
last = f"[...{turns}].at(-1)"

# Answers to the next questions in place of the server: pieces of `step` bytes, or of all; `hold` leaves the stream open.
fake_fetch = """
window.asked = [];
window.answers = [];
window.real_fetch ??= window.fetch;
window.fetch = async (path, options) => {
  if (path !== "/v1/chat/completions") return real_fetch(path, options);
  asked.push({ body: JSON.parse(options.body), key: options.headers.Authorization });
  const { text, step = 1e9, hold = false, status = 200, headers = {} } = answers.shift();
  const bytes = new TextEncoder().encode(text);
  const stream = new ReadableStream({ start(controller) {
    options.signal.addEventListener("abort", () => controller.error(options.signal.reason));
    for (let begin = 0; begin < bytes.length; begin += step) controller.enqueue(bytes.slice(begin, begin + step));
    if (!hold) controller.close();
  }});
  return new Response(stream, { status, headers });
};
"""

# Of each text that is seen: its contrast with what lies behind it, if that is less than WCAG 2.2 AA asks (4.5).
weak_contrasts = """
(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([red, green, blue]) => [red, green, blue].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color[3] !== 0) return color;
    }
  };
  const weak = [];
  for (const element of document.querySelectorAll("body *:not(script)")) {
    const said = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!said || !element.checkVisibility()) continue;
    const [low, high] = [light(channels(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) weak.push(`${element.tagName} "${element.textContent.trim().slice(0, 40)}" ${contrast.toFixed(2)}`);
  }
  return weak;
})()
"""


def event(delta=None, finish=None, **more):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return "data: " + json.dumps({"choices": choices, **more}, ensure_ascii=False) + "\n\n"


def whole(*deltas, **more):
    return "".join(map(event, deltas)) + event({}, "stop") + event(**more) + "data: [DONE]\n\n"


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser(options.chromium)
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        page = self.browser
        page.resize(1100, 860)
        page.emulate("light")
        for noted in (page.console, page.requests, page.posted):
            noted.clear()
        page.open(address)
        page.wait("document.querySelector('#model').textContent")

    def tearDown(self):
        self.assertEqual(self.browser.console, [])
        elsewhere = [url for url in self.browser.requests if not url.startswith((address, "data:"))]
        self.assertEqual(elsewhere, [])

    def fake(self, *answers):
        self.browser.value(f"{fake_fetch} answers.push(...{json.dumps(answers)}); null")

    def ask(self, question):
        self.browser.type(question)
        self.browser.enter()

    def said(self):
        return self.browser.value(f"{last}.querySelector('.answer').textContent")

    def wait_for_end(self):
        self.browser.wait("document.querySelector('#stop').hidden")

    def problem(self):
        self.browser.wait(f"{last}?.querySelector('.problem')")
        return self.browser.value(f"{last}.querySelector('.problem p').textContent")

    # ---- with the server's own answers --------------------------------------------------------------
    def test_a_dropped_picture_is_asked_about_twice(self):
        page = self.browser
        page.drop(demo / "balloons.png")
        page.wait("document.querySelectorAll('#tray img').length === 1")
        page.type("How many red circles are there?")
        page.click("#send")
        page.wait(f"{turns}.length === 1")
        self.wait_for_end()
        self.assertRegex(self.said(), r"\b3\b|\bthree\b")
        timings = page.value(f"{last}.querySelector('.timings').textContent")
        self.assertRegex(timings, r"^[\d.]+ m?s to the first token.*\d+ tokens? written.*\d+ read")
        rows = page.value(f"[...{last}.querySelectorAll('.stages tr')].map((row) => row.textContent)")
        for stage in ("image decode", "vision", "prefill", "decode"):
            self.assertTrue(any(re.match(rf"{stage}[a-z ]*[\d.]+ m?s$", row) for row in rows), (stage, rows))

        # The picture is 672 x 336: one line, in its middle from top to bottom.
        self.assertEqual(page.value(f"{last}.querySelector('figcaption').textContent"),
                         "672 × 336 px, 2 × 1 tiles and a thumbnail")
        self.assertEqual(page.value(f"{last}.querySelector('.tiles').getAttribute('viewBox')"), "0 0 2 1")
        line, picture = (page.value(f"(() => {{ const box = {last}.querySelector('{what}').getBoundingClientRect();"
                                    " return [box.x, box.y, box.width, box.height]; })()")
                         for what in (".tiles path", ".view img"))
        self.assertAlmostEqual(line[0] + line[2] / 2, picture[0] + picture[2] / 2, delta=1)
        self.assertAlmostEqual(line[3], picture[3], delta=4)

        self.ask("How many yellow stars are there?")
        page.wait(f"{turns}.length === 2")
        self.wait_for_end()
        self.assertRegex(self.said(), r"\b2\b|\btwo\b")
        sent = page.posted[-1]["messages"]
        self.assertEqual([message["role"] for message in sent], ["user", "assistant", "user"])
        picture, question = sent[0]["content"]
        self.assertEqual(base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/png;base64,")),
                         (demo / "balloons.png").read_bytes())
        self.assertEqual(question, {"type": "text", "text": "How many red circles are there?"})

        page.click("#new")
        page.wait(f"{turns}.length === 0")
        self.ask("Is there a house?")
        page.wait(f"{turns}.length === 1")
        self.wait_for_end()
        self.assertEqual(len(page.posted[-1]["messages"]), 1)

    def test_a_refusal_is_shown_and_its_question_can_be_edited(self):
        page = self.browser
        with tempfile.TemporaryDirectory() as folder:
            broken = pathlib.Path(folder) / "broken.png"
            broken.write_bytes(b"no picture at all")
            page.choose("#files", broken)
            page.wait("document.querySelectorAll('#tray img').length === 1")
        self.ask("What is this?")
        self.assertGreater(len(self.problem()), 20)
        self.assertRegex(page.console.pop(), r"the server responded with a status of 4\d\d .*/v1/chat/completions$")
        self.assertEqual(page.value("document.querySelector('#alert').textContent"), self.problem())
        page.type("And this?")  # begun before the other is taken back
        page.click(".problem button:last-child")
        page.wait(f"{turns}.length === 0")
        self.assertEqual(page.value("document.querySelector('#question').value"), "What is this?\nAnd this?")
        page.click("#tray button")
        page.wait("document.querySelector('#tray').hidden")
        page.enter()
        page.wait(f"{turns}.length === 1")
        self.wait_for_end()
        self.assertIsNone(page.value(f"{last}.querySelector('.problem')"))

    # ---- by keyboard and by ear ---------------------------------------------------------------------
    def test_by_keyboard_alone(self):
        page = self.browser
        focused = "document.activeElement.id || document.activeElement.textContent"
        self.assertEqual(page.value(focused), "question")
        outlines = []

        def reach(name, shift=False):
            for _ in range(20):
                page.tab(shift)
                outlines.append(page.value("[document.activeElement, document.activeElement.closest('.box')].some("
                                           "(at) => at && getComputedStyle(at).outlineStyle !== 'none')"
                                           " || document.activeElement.id === 'question'"))
                if page.value(focused) == name:
                    return
            self.fail(f"no {name} on the way of Tab")

        reach("open-settings", shift=True)
        page.enter()
        page.wait("document.querySelector('#settings').open")
        reach("temperature")
        page.type("0")
        reach("most")
        page.type("32")
        page.escape()
        page.wait("!document.querySelector('#settings').open")
        self.assertEqual(page.value(focused), "open-settings")
        reach("choose")
        reach("question")
        self.ask("How many red circles are there?")
        page.wait(f"{turns}.length === 1")
        self.wait_for_end()
        self.assertEqual((page.posted[-1]["temperature"], page.posted[-1]["max_completion_tokens"]), (0, 32))
        self.assertEqual(page.value(focused), "question")
        reach("Where the time went", shift=True)
        page.enter()
        page.wait(f"{last}.querySelector('details:not(.thoughts)').open")
        self.assertTrue(all(outlines))

    def test_everything_has_a_name_and_enough_contrast(self):
        page = self.browser
        self.fake({"text": whole({"reasoning_content": "Hm."}, {"content": "Yes."})}, {"text": event({"content": "N"})})
        page.drop(demo / "hill.png")
        page.wait("document.querySelectorAll('#tray img').length === 1")
        self.ask("Is there a triangle?")
        page.wait(f"{turns}.length === 1")
        self.wait_for_end()
        page.drop(demo / "cafe.png")
        page.wait("document.querySelectorAll('#tray img').length === 1")
        self.ask("Is there a square?")
        self.problem()
        page.drop(demo / "cafe.png")
        page.wait("document.querySelectorAll('#tray img').length === 1")
        page.value("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
        page.value("document.querySelector('#key-form').hidden = false")
        for opened in (False, True):
            if opened:
                page.click("#open-settings")
            nodes = page.call("Accessibility.getFullAXTree")["nodes"]
            roles = ("button", "textbox", "checkbox", "spinbutton", "image", "dialog", "main", "list")
            named = {"main", "dialog"} | set(roles) - {"list"}
            for node in nodes:
                role = node.get("role", {}).get("value")
                if role in named and not node.get("ignored"):
                    self.assertTrue(node["name"]["value"], node)
            for scheme in ("light", "dark"):
                page.emulate(scheme)
                self.assertEqual(page.value(weak_contrasts), [], scheme)

    def test_a_screen_reader_hears_sentences_and_not_tokens(self):
        page = self.browser
        words = "".join(f"Word {number}. " for number in range(200))
        self.fake({"text": whole(*({"content": part} for part in re.findall(r"\S+ ", words)))})
        page.value("window.heard = []; new MutationObserver(() => heard.push(document.querySelector('#announcer')"
                   ".textContent)).observe(document.querySelector('#announcer'), { childList: true }); null")
        self.ask("Count.")
        page.wait(f"{turns}.length === 1")
        self.wait_for_end()
        heard = page.value("heard")
        self.assertEqual(heard[0], "Waiting for the answer")
        self.assertEqual("".join(heard[1:]), words)
        self.assertLess(len(heard), 10)

    # ---- streams ------------------------------------------------------------------------------------
    def test_a_stream_may_be_cut_anywhere(self):
        page = self.browser
        text = "Über 🎈 <img src=x onerror='document.title=1'> & </article>\n“so”"
        two_lines = event({"reasoning_content": "Zwölf 🎈"}).replace(", ", ",\ndata: ", 1)
        stream = ": keep-alive\n\n" + two_lines + whole({"content": text[:9]}, {"content": text[9:]})
        crlf = stream.replace("\n", "\r\n")
        steps = [(stream, 1), (stream, 3), (crlf, 1), (crlf, 2), (crlf, 5), (crlf, 10**6)]
        self.fake(*({"text": body, "step": step} for body, step in steps))
        for number, step in enumerate(steps):
            self.ask("What?")
            page.wait(f"{turns}.length === {number + 1}")
            self.wait_for_end()
            self.assertEqual(self.said(), text, step[1])
            self.assertEqual(page.value(f"{last}.querySelector('.thoughts p').textContent"), "Zwölf 🎈")
            self.assertFalse(page.value(f"{last}.querySelector('.thoughts').open"))
            self.assertEqual(page.value(f"{last}.querySelectorAll('.answer *').length"), 0)

    def test_stop(self):
        page = self.browser
        self.fake({"text": event({"content": "Three "}), "hold": True}, {"text": event({"role": "assistant"}), "hold": True},
                  {"text": whole({"content": "Four."})})
        self.ask("How many?")
        page.wait(f"{last}?.querySelector('.answer').textContent === 'Three '")
        page.type("Not yet")
        page.enter()  # while the other is being answered, this waits
        self.assertEqual(page.value(f"{turns}.length"), 1)
        page.escape()
        self.wait_for_end()
        self.assertIn("Stopped", page.value(f"{last}.textContent"))
        page.enter()
        page.wait(f"{turns}.length === 2")
        page.click("#stop")
        self.assertEqual(self.problem(), "Stopped before the answer began.")
        self.assertEqual(page.value("document.activeElement.id"), "question")
        page.click(".problem button")
        self.wait_for_end()
        page.wait(f"{last}.querySelector('.answer').textContent === 'Four.'")
        roles = [(message["role"], message["content"][0]["text"] if message["role"] == "user" else message["content"])
                 for message in page.value("asked.at(-1).body.messages")]
        self.assertEqual(roles, [("user", "How many?"), ("assistant", "Three "), ("user", "Not yet")])

    def test_errors_in_words(self):
        error = json.dumps({"error": {"message": "No pages are left.", "type": "server_error"}})
        for answer, words in (
                ({"text": event({"content": "So"}) + f"data: {error}\n\ndata: [DONE]\n\n"}, "No pages are left."),
                ({"text": error, "status": 503, "headers": {"Retry-After": "7"}}, "No pages are left. Try again in 7 s."),
                ({"text": "<html>", "status": 502}, "The server answered 502 and gave no reason."),
                ({"text": event({"content": "So"})}, "The connection ended before the answer did.")):
            self.fake(answer)
            self.ask("What?")
            self.assertEqual(self.problem(), words)
            self.browser.click("#new")
        self.browser.value("window.fetch = () => Promise.reject(new TypeError('Failed to fetch')); null")
        self.ask("What?")
        self.assertEqual(self.problem(), "The server cannot be reached.")

    def test_a_key_is_asked_for_and_used(self):
        page = self.browser
        refusal = json.dumps({"error": {"message": "The key is wrong.", "type": "authentication_error"}})
        self.fake({"text": refusal, "status": 401}, {"text": whole({"content": "Yes."})})
        self.ask("May I?")
        self.assertEqual(self.problem(), "The key is wrong.")
        self.assertEqual(page.value("document.activeElement.id"), "key")
        page.type("secret")
        page.enter()
        page.wait(f"{last}?.querySelector('.answer').textContent === 'Yes.'")
        self.assertEqual(page.value("asked.map(({ key }) => key ?? null)"), [None, "Bearer secret"])
        self.assertTrue(page.value("document.querySelector('#key-form').hidden"))
        self.assertEqual(page.value("document.querySelector('#key').value"), "")
        self.assertEqual(page.value("localStorage.length + sessionStorage.length + document.cookie.length"), 0)

    # ---- settings -----------------------------------------------------------------------------------
    def test_thinking_sends_the_published_system_prompt(self):
        page = self.browser
        header = (root / "include/ivl/text/chat_template.hpp").read_text()
        literal = re.search(r"thinking_system =\n(.*?);\n\n", header, re.S)[1]
        published = "".join(json.loads(part) for part in re.findall(r'"(?:[^"\\]|\\.)*"', literal))
        self.fake({"text": whole({"content": "Yes."})}, {"text": whole({"content": "Yes."})})
        page.click("#open-settings")
        page.click("#thinking")
        page.click("#settings button")
        page.click("#question")
        self.ask("Well?")
        page.wait("asked.length === 1")
        self.wait_for_end()
        page.click("#open-settings")
        page.click("#system")
        page.type("Be short.")
        page.click("#settings button")
        page.click("#question")
        self.ask("Well?")
        page.wait("asked.length === 2")
        first, second = page.value("asked.map(({ body }) => body)")
        self.assertEqual(first["messages"][0], {"role": "system", "content": published})
        self.assertEqual(first["temperature"], 0.6)
        self.assertEqual(second["messages"][0]["content"], published + "\n\nBe short.")

    def test_a_narrow_page_is_not_wider_than_its_screen(self):
        page = self.browser
        page.resize(320, 640)
        self.fake({"text": whole({"content": "W" * 400})})
        page.drop(demo / "balloons.png")
        page.wait("document.querySelectorAll('#tray img').length === 1")
        self.ask("M" * 400)
        page.wait(f"{turns}.length === 1")
        self.wait_for_end()
        self.assertEqual(page.value("document.documentElement.scrollWidth"), 320)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", help="the program")
    parser.add_argument("--address", help="of a server that runs already")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options, rest = parser.parse_known_args()
    if not options.chromium:
        print("skipped: no Chromium (Debian: chromium)")
        sys.exit(77)
    server = None
    if options.serve:
        server = subprocess.Popen([options.serve, "--port", "0"], stdout=subprocess.PIPE, text=True, cwd=root)
        options.address = server.stdout.readline().removeprefix("listening on ")
    address = options.address.strip().rstrip("/") + "/"
    try:
        result = unittest.main(argv=sys.argv[:1] + rest, exit=False).result
    finally:
        if server:
            server.terminate()
            server.wait()
    sys.exit(not result.wasSuccessful())
