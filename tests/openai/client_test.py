"""The `openai` client, unchanged, against `serve` on the bundled toy.

    pip install openai==3.57.0
    python3 client_test.py build/release/bin/serve

Exits with 77 where the package is not there.
"""
import base64
import contextlib
import json
import math
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

try:
    import openai
except ImportError:
    print("skipped: no Python package openai (pip install openai==3.57.0)")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples/drawn_scenes/demo"
SERVE = sys.argv.pop(1)


@contextlib.contextmanager
def server(*flags):
    """Its address; it has to end well once it is told to."""
    process = subprocess.Popen([SERVE, "--port", "0", "--quiet", "--threads", "2", *flags], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line + process.stderr.read()
        yield process, line.split()[-1]
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and errors == "", (process.returncode, errors)


def client_of(address, **options):
    return openai.OpenAI(**{"api_key": "none", "base_url": address + "/v1", "max_retries": 0, **options})


def data_url(name):
    return "data:image/png;base64," + base64.b64encode((DEMO / name).read_bytes()).decode()


def about(*names, text):
    pictures = [{"type": "image_url", "image_url": {"url": data_url(name)}} for name in names]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": text}]}]


BALLOONS = about("balloons.png", text="Describe the picture.")
ANSWER = "There are three red circles and two yellow stars."


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.process, cls.address = cls.enterClassContext(server())
        cls.client = client_of(cls.address)

    def ask(self, messages=BALLOONS, **options):
        return self.client.chat.completions.create(model="drawn_scenes", messages=messages, **options)

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list().data], ["drawn_scenes"])
        self.assertEqual(self.client.models.retrieve("drawn_scenes").owned_by, "ivl")

    def test_chat(self):
        answer = self.ask()
        self.assertEqual(answer.choices[0].message.content, ANSWER)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertEqual(answer.usage.prompt_tokens_details.image_tokens, 16 * answer.ivl["tiles"])
        again = self.ask([*BALLOONS, {"role": "assistant", "content": ANSWER},
                          {"role": "user", "content": "How many red circles are there?"}])
        self.assertEqual(again.choices[0].message.content, "3")
        self.assertGreater(again.usage.prompt_tokens_details.cached_tokens, answer.usage.prompt_tokens)

    def test_stream(self):
        chunks = list(self.ask(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), ANSWER)
        self.assertEqual(chunks[-2].choices[0].finish_reason, "stop")
        self.assertEqual((chunks[-1].choices, chunks[-1].usage.completion_tokens), ([], 10))
        self.assertEqual(len({chunk.id for chunk in chunks}), 1)
        with self.client.chat.completions.stream(model="drawn_scenes", messages=BALLOONS) as stream:
            self.assertEqual(stream.get_final_completion().choices[0].message.content, ANSWER)

    def test_several_pictures(self):
        two = about("shelf_one.png", "shelf_two.png", text="Do both pictures have the same number of objects?")
        self.assertIn(self.ask(two).choices[0].message.content, ("yes", "no"))
        self.assertEqual(len(self.ask(two).ivl["pictures"]), 2)

    def test_answers_and_seeds(self):
        def texts(**options):
            choices = self.ask(temperature=1.8, top_p=0.99, max_tokens=12, extra_body={"top_k": -1}, **options).choices
            return [choice.message.content for choice in choices]
        self.assertEqual(texts(n=4, seed=7), texts(n=4, seed=7))
        self.assertEqual(texts(seed=7), texts(n=4, seed=7)[:1])
        self.assertGreater(len(set(texts(n=4, seed=7))), 1)
        self.assertGreater(len({texts()[0] for _ in range(6)}), 1)

    def test_logprobs(self):
        choice = self.ask(logprobs=True, top_logprobs=20).choices[0]
        self.assertEqual(b"".join(bytes(token.bytes) for token in choice.logprobs.content).decode(), ANSWER)
        for token in choice.logprobs.content:
            self.assertEqual((token.token, token.logprob), (token.top_logprobs[0].token, token.top_logprobs[0].logprob))
            total = sum(math.exp(other.logprob) for other in token.top_logprobs)
            self.assertTrue(0.5 < total <= 1 + 1e-5, total)

    def test_stop(self):
        choice = self.ask(stop=[" and", "blue"]).choices[0]
        self.assertEqual(choice.message.content, "There are three red circles")
        self.assertEqual((choice.finish_reason, choice.stop_reason), ("stop", " and"))
        self.assertEqual(self.ask(max_completion_tokens=2).choices[0].finish_reason, "length")

    def test_forms(self):
        schema = {"type": "object", "properties": {"shape": {"enum": ["circle", "star"]}, "count": {"type": "integer"}},
                  "required": ["shape", "count"], "additionalProperties": False}
        form = {"type": "json_schema", "json_schema": {"name": "scene", "strict": True, "schema": schema}}
        answer = json.loads(self.ask(response_format=form, max_tokens=80).choices[0].message.content)
        self.assertEqual(list(answer), ["shape", "count"])
        self.assertIn(answer["shape"], ("circle", "star"))
        self.assertIsInstance(answer["count"], int)
        choice = {"structured_outputs": {"choice": ["purple", "red"]}}
        self.assertIn(self.ask(extra_body=choice).choices[0].message.content, ("purple", "red"))

    def test_completions(self):
        answer = self.client.completions.create(model="drawn_scenes", prompt=["How many", "What"], max_tokens=3, logprobs=2)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1])
        self.assertEqual("".join(answer.choices[0].logprobs.tokens), answer.choices[0].text)
        streamed = self.client.completions.create(model="drawn_scenes", prompt="How many", max_tokens=3, stream=True)
        self.assertEqual("".join(chunk.choices[0].text for chunk in streamed), answer.choices[0].text)

    def test_card(self):
        """The program of the model card for LMDeploy's server; the port and the picture's address are ours."""
        from openai import OpenAI
        client = OpenAI(api_key='YOUR_API_KEY', base_url=self.address + '/v1')
        model_name = client.models.list().data[0].id
        response = client.chat.completions.create(
            model=model_name,
            messages=[{
                'role':
                'user',
                'content': [{
                    'type': 'text',
                    'text': 'describe this image',
                }, {
                    'type': 'image_url',
                    'image_url': {
                        'url':
                        data_url("hill.png"),
                    },
                }],
            }],
            temperature=0.8,
            top_p=0.8)
        self.assertTrue(response.choices[0].message.content)

    def test_errors(self):
        def code_of(kind, **options):
            with self.assertRaises(kind) as raised:
                self.client.chat.completions.create(**{"model": "drawn_scenes", "messages": BALLOONS, **options})
            return raised.exception.code, raised.exception.param
        self.assertEqual(code_of(openai.BadRequestError, temperature=3), (None, "temperature"))
        self.assertEqual(code_of(openai.BadRequestError, tools=[{"type": "function", "function": {"name": "f"}}]),
                         ("unsupported_parameter", "tools"))
        self.assertEqual(code_of(openai.BadRequestError, max_tokens=100000), ("context_length_exceeded", "max_tokens"))
        self.assertEqual(code_of(openai.NotFoundError, model="gpt-4"), ("model_not_found", "model"))
        url = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]
        self.assertEqual(code_of(openai.BadRequestError, messages=url),
                         ("invalid_image", "messages[0].content[0].image_url.url"))
        with self.assertRaises(openai.NotFoundError):
            self.client.embeddings.create(model="drawn_scenes", input="a")

    def test_many_at_once(self):
        """More than run together, some of which go away in the middle: the others' answers are those alone."""
        answers = {}

        def stream(number):
            text = ""
            with self.ask(stream=True) as chunks:
                for chunk in chunks:
                    text += chunk.choices[0].delta.content or ""
                    if number % 3 == 0 and text:
                        return
            answers[number] = text
        threads = [threading.Thread(target=stream, args=[number]) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, {number: ANSWER for number in range(12) if number % 3})


class Servers(unittest.TestCase):
    def test_keys(self):
        with tempfile.NamedTemporaryFile("w") as keys:
            keys.write("# of two clients\nfirst\n\nsecond\n")
            keys.flush()
            with server("--api-key-file", keys.name, "--served-name", "mine") as (_, address):
                self.assertEqual(client_of(address, api_key="second").models.list().data[0].id, "mine")
                with self.assertRaises(openai.AuthenticationError) as raised:
                    client_of(address).models.list()
                self.assertEqual(raised.exception.code, "invalid_api_key")

    def test_busy(self):
        """With one answer at a time and four in the queue, some of 24 get 503, and the client's retries bring all home."""
        with server("--max-sequences", "1") as (_, address):
            def ask(client, results):
                try:
                    answer = client.chat.completions.create(model="drawn_scenes", messages=BALLOONS, max_tokens=100,
                                                            extra_body={"ignore_eos": True})
                    results.append(answer.choices[0].finish_reason)
                except openai.InternalServerError as error:
                    results.append((error.status_code, error.response.headers["Retry-After"]))

            def results_of(**options):
                results = []
                client = client_of(address, **options)
                threads = [threading.Thread(target=ask, args=[client, results]) for _ in range(24)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                return results
            once = results_of(max_retries=0)
            self.assertEqual(set(once), {"length", (503, "1")})
            self.assertEqual(set(results_of(max_retries=30)), {"length"})

    def test_drain(self):
        """What was accepted before SIGTERM is answered to its end, and then the program ends."""
        with server() as (process, address):
            stream = client_of(address).chat.completions.create(model="drawn_scenes", messages=BALLOONS, stream=True,
                                                                max_tokens=1000, extra_body={"ignore_eos": True})
            next(stream)
            process.send_signal(signal.SIGTERM)
            chunks = list(stream)
            self.assertEqual(chunks[-1].choices[0].finish_reason, "length")
            with self.assertRaises(openai.APIConnectionError):
                client_of(address).models.list()


if __name__ == "__main__":
    unittest.main()
