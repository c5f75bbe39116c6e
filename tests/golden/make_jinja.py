"""Golden data of chat templates: what transformers' environment of jinja2 renders.

jinja/*.jinja are ours, written in what the published templates are written in. Each is rendered with the same 1000 random
conversations; jinja/golden.json keeps the conversations and the first 16 digits of SHA-256 of every text. A conversation
that a template raises an exception for, with its own text, has "!" and the digits of that text; one that fails, "!".
Small templates, `snippets`, stand with their whole text, null where they fail.

  python make_jinja.py                          writes jinja/golden.json
  python make_jinja.py --published FOLDER OUT   renders FOLDER/*.jinja with all conversations into OUT, one JSON a line,
                                                to be compared outside of this repository
"""

import argparse
import hashlib
import json
import pathlib
import random
import sys

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

WORDS = [
    "hello", "Where is it?", "<think>", "</think>", "\n", "\n\n", " ", "  ", "\t", "caf\u00e9", "\u65e5\u672c\u8a9e", "\U0001f600", "it's", '"q"',
    "back\\slash", "<result>", "</result>", "<|im_end|>", "{{ x }}", "{% if %}", "a&b", "<b>", "\u2028", "\u00a0", "42", "3.5", "-1e3",
    "\u00c9T\u00c9", "x_y-z (w)", "\r\n", "\x1f", "null", ".", "\u0416",
]


def text(r, words=6):
    return "".join(r.choice(WORDS) + r.choice(["", " "]) for _ in range(r.randrange(words)))


def value(r, depth=0):
    kind = r.randrange(7 if depth < 2 else 4)
    if kind == 0:
        return r.choice([None, True, False, 0, -7, 12345678901, 3.5, 1e20, 1e-7, 100.0, 2.5e15])
    if kind < 4:
        return text(r, 3)
    if kind == 4:
        return [value(r, depth + 1) for _ in range(r.randrange(3))]
    return {r.choice(["city", "Zip", "n", "\u03c0"]) + str(i): value(r, depth + 1) for i in range(r.randrange(3))}


def schema(r, depth=0):
    kinds = ["string", "number", "integer", "boolean", "array", "object", ["string", "null"], None]
    kind = r.choice(kinds if depth < 2 else kinds[:4])
    result = {} if kind is None else {"type": kind}
    if r.random() < 0.4:
        result["description"] = text(r, 4)
    if kind == "string" and r.random() < 0.4:
        result["enum"] = r.choice([["a", 'b"'], ["c"]])
    if kind == "array" and r.random() < 0.8:
        result["items"] = schema(r, depth + 1)
    if kind == "object":
        result["properties"] = {r.choice(["b", "A", "\u03b1"]) + str(i): schema(r, depth + 1) for i in range(r.randrange(3))}
        if r.random() < 0.5:
            result["required"] = list(result["properties"])[:1]
    if kind is None and depth < 2:
        result["oneOf"] = [schema(r, depth + 1) for _ in range(r.randrange(1, 3))]
    if r.random() < 0.15:
        result["nullable"] = True
    if r.random() < 0.15:
        result["default"] = r.choice([1, "x", True, None, {"q": 1.5}])
    return result


def tool(r):
    function = {"name": r.choice(["search", "weather"]), "description": text(r, 4)}
    if r.random() < 0.8:
        function["parameters"] = {"type": "object", "properties": {name: schema(r) for name in r.sample(["q", "Zoom", "n"], r.randrange(3))}}
    return {"type": "function", "function": function} if r.random() < 0.9 else function


def message(r, role):
    result = {"role": role}
    if r.random() < 0.15:
        parts = [{"type": "text", "text": text(r, 4)}, {"type": "image"}, {"type": "video"}]
        result["content"] = [r.choice(parts) for _ in range(r.randrange(4))]
    elif r.random() < 0.95:
        result["content"] = text(r)
    if role == "assistant" and r.random() < 0.25:
        function = {"name": "search", "arguments": r.choice([value(r), {"q": text(r, 3), "n": [1, value(r)]}, '{"q": 1}'])}
        result["tool_calls"] = [r.choice([{"type": "function", "function": function}, function])] * r.randrange(1, 3)
    if role == "assistant" and r.random() < 0.2:
        result[r.choice(["reasoning_content", "thinking"])] = text(r)
    if role == "tool" and r.random() < 0.5:
        result["name"] = "search"
    return result


def conversation(seed):
    r = random.Random(seed)
    messages = [message(r, "system")] if r.random() < 0.4 else []
    for turn in range(r.randrange(5)):
        messages.append(message(r, r.choice(["user", "tool", "system"]) if r.random() < 0.2 else ["user", "assistant"][turn % 2]))
        if "tool_calls" in messages[-1]:
            messages.append(message(r, "tool"))
    context = {"messages": messages, "add_generation_prompt": r.random() < 0.7, "tools": None}
    if r.random() < 0.2:
        context["tools"] = [tool(r) for _ in range(r.randrange(1, 3))]
    if r.random() < 0.8:
        context.update(bos_token="<s>", eos_token="</s>")
    for name, values in [("enable_thinking", [True, False]), ("strict", [True, False]), ("effort", ["low"]), ("identity", ["I am."])]:
        if r.random() < 0.3:
            context[name] = r.choice(values)
    return context


# Rules that a conversation seldom meets, each beside what it might be mistaken for.
SNIPPETS = [
    # undefined values
    "{{ nope }}|{{ nope.x is defined }}", "{{ d.nope }}|{{ d.nope is defined }}", "{{ d.nope.more }}", "{{ nope + 1 }}", "{{ nope == nope }}",
    "{{ nope ~ 'a' }}", "{{ nope | length }}{{ nope | list }}{{ nope | join }}", "{% for x in nope %}{{ x }}{% else %}none{% endfor %}",
    "{{ nope | tojson }}", "{{ nope in [nope] }}", "{{ 'a' in nope }}", "{{ nope in 'a' }}", "{{ -nope }}", "{{ nope() }}", "{{ [nope] }}",
    "{{ nope | int }}", "{{ nope | trim | upper }}", "{{ nope | default }}|{{ none | default('x') }}|{{ none | default('x', true) }}", "{{ not nope }}",
    "{{ nope is sequence }}{{ nope is iterable }}{{ nope is mapping }}{{ nope is callable }}", "{{ nope[0] }}", "{{ l[9] }}|{{ l[9] is defined }}", "{{ l[9].x }}",
    "{{ [] | first }}|{{ [] | last is defined }}", "{{ nope | items | list }}", "{{ nope < 1 }}", "{{ none < 1 }}", "{{ none.x }}|{{ none.x.y is defined }}",
    # members and methods
    "{{ d['items'] }}", "{{ d.items() | list }}", "{{ d.get('k') }}{{ d.get('z', 3) }}", "{{ d.update({}) }}", "{{ l.x is defined }}{{ s.x is defined }}",
    "{{ s[0] }}{{ s[-1] }}{{ s[1:] }}{{ s[::-1] }}{{ s[5:1:-2] }}{{ s[:-100] }}", "{{ l[1:] }}{{ l[::-1] }}{{ l[-2:] }}{{ (1, 2, 3)[1:] }}", "{{ l[0.5] is defined }}",
    "{{ 'a,b,,c'.split(',') }}{{ ' a  b '.split() }}{{ ' a  b '.split(' ') }}{{ ' a b c '.split(none, 1) }}{{ ' a '.split(none, 0) }}", "{{ 'abc'.split('') }}",
    "{{ 'aXbX'.replace('X', '') }}{{ 'abc'.replace('', '-') }}{{ 'aaa'.replace('a', 'b', 2) }}", "{{ 'xxabcxx'.strip('x') }}{{ 'xxabc'.lstrip('xa') }}{{ 'abc'.rstrip('bc') }}",
    "{{ 'a\\nb\\r\\nc\\u2028d'.splitlines() }}{{ 'a\\n\\nb\\n'.splitlines(true) }}", "{{ '-'.join(['a', 'b']) }}{{ '-'.join('ab') }}", "{{ '-'.join([1]) }}",
    "{{ 'abc'.find('c') }}{{ 'abc'.find('z') }}{{ 'abab'.count('ab') }}{{ 'abc'.index('b') }}", "{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') }}",
    "{{ 'abc'.startswith('a') }}{{ 'abc'.endswith(('x', 'c')) }}", "{{ \"they're bill's\".title() }}{{ \"they're bill's-x\" | title }}{{ 'aBC' | capitalize }}",
    "{{ '\u00e9t\u00e9 stra\u00dfe'.upper() }}{{ '\u00c9T\u00c9 \u0416'.lower() }}", "{{ l.count(1) }}{{ l.index(2) }}", "{{ l.append(1) }}",
    # numbers
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 // -2 }} {{ 7 % -3 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 7 / 2 }} {{ 4 / 2 }} {{ 2 ** 3 }} {{ 2 ** -1 }}",
    "{{ 1 / 0 }}", "{{ 1 % 0 }}", "{{ true + true }} {{ -true }} {{ 1.0 }} {{ 1e3 }} {{ 1e16 }} {{ 123456789012345680.0 }} {{ 1e-4 }} {{ 1e-5 }} {{ 0.1 + 0.2 }} {{ 1_000 }} {{ 0x1F }} {{ 0b11 }} {{ 0o17 }}",
    "{{ 1 == true }}{{ 1 == 1.0 }}{{ '1' == 1 }}{{ none == false }}{{ [1] == (1,) }}{{ [1, 2] < [1, 3] }}{{ 'a' < 'b' }}{{ 'Z' < 'a' }}", "{{ 'a' < 1 }}", "{{ 'a' + 1 }}", "{{ 1 + 'a' }}",
    "{{ '42' | int }}{{ ' 42 ' | int }}{{ '4_2' | int }}{{ '4.9' | int }}{{ 'x' | int }}{{ 'x' | int(7) }}{{ -4.9 | int }}{{ none | int }}{{ '' | int }}{{ '1e2' | int }}{{ 'inf' | int }}",
    "{{ '4.5' | float }}{{ 'x' | float }}{{ '1e400' | float }}{{ 'nan' | float }}{{ '-Infinity' | float }}{{ 3 | float }}", "{{ -3 | abs }}{{ -3.5 | abs }}", "{{ [1, 2.5] | sum }}{{ [] | sum }}",
    "{{ 1 < 2 < 3 }}{{ 3 > 2 > 2 }}{{ 1 < 2 == 2 }}{{ 1 in [1] == true }}", "{{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 10 - 2 - 3 }} {{ 2 + 3 * 4 }} {{ 1 + 2 }} {{ not 1 == 2 }} {{ 1 + 2 ~ 3 }}", "{{ -1 | abs }}{{ -s | length }}",
    # text and JSON
    "{{ ['a', \"it's\", '\"', \"'\\\"\", '\\n\\t\\\\', '\u00e9', '\u200b', '\\x07', '\U0001f600', none, true, 1.0, (), (1,), {}, {'k': [1]}] }}", "{{ 'a' 'b' \"c\" }}", "{{ '\\u00e9\\x41\\101\\q\\'\\\n' }}",
    "{{ d | tojson }}{{ d | tojson(indent=2) }}{{ d | tojson(indent='--') }}{{ [] | tojson(indent=2) }}{{ [[]] | tojson(indent=0) }}", "{{ d | tojson(true) }}{{ ['\u00e9\U0001f600\\x7f\\x01\\n\"/<>&'] | tojson(ensure_ascii=true) }}{{ '\u00e9\\x7f\\x01\\b\\f</' | tojson }}",
    "{{ d | tojson(separators=(',', ':')) }}{{ d | tojson(sort_keys=true) }}{{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}", "{{ {(1, 2): 3} | tojson }}", "{{ [1e16, 0.1, 1.0] | tojson }}", "{{ {'a': 1, 'b': 2, 'a': 3} }}{{ {1: 'x', 1.0: 'y', true: 'z'} }}",
    "{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|{{ 'a\\n\\nb' | indent(1, blank=true) }}|{{ '' | indent(2, true) }}", "{{ '<' | safe + '>' }}{{ '<' + ('>' | safe) }}{{ ('<' | safe) ~ '>' }}{{ '<a>' | safe | length }}", "{{ 'x' * 3 }}{{ 3 * 'x' }}{{ 'x' * -1 }}{{ [0] * 2 }}",
    "{{ 'ab' | reverse }}{{ [1, 2] | reverse | list }}{{ 'ab' | list }}{{ d | list }}{{ d | length }}", "{{ 'b' in 'abc' }}{{ '' in 'abc' }}{{ 1 in 'abc' }}", "{{ 'k' in d }}{{ [1] in [[1]] }}{{ 1 not in [1] }}{{ 'v' in d.values() }}",
    # filters of sequences
    "{{ ['b', 'A', 'a'] | sort }}{{ ['b', 'A', 'a'] | sort(true, true) }}{{ [3, 1] | sort(reverse=true) }}{{ m | sort(attribute='n,r') | map(attribute='r') | join }}", "{{ [1, 'a'] | sort }}", "{{ {'b': 1, 'A': 2} | dictsort }}{{ {'b': 1, 'A': 2} | dictsort(true) }}{{ {'b': 1, 'A': 2} | dictsort(by='value', reverse=true) }}",
    "{{ m | map(attribute='r') | list }}{{ m | map(attribute='zz', default=0) | list }}{{ m | map(attribute='zz') | list }}{{ m | map('length') | list }}{{ ['a'] | map('replace', 'a', 'b') | list }}", "{{ m | map('nope') | list }}", "{{ m | selectattr('n') | list | length }}{{ m | selectattr('n', 'gt', 1) | map(attribute='r') | list }}{{ m | rejectattr('q', 'defined') | list | length }}",
    "{{ [0, 1, 2, none, ''] | select | list }}{{ [1, 2, 3] | select('odd') | list }}{{ [1, 2, 3] | reject('in', [1]) | list }}", "{% set g = l | map('string') %}{{ g | join }}{{ g | join }}{{ l | map('string') is iterable }}{{ l | map('string') is sequence }}{{ 'yes' if [] | map('string') }}", "{{ l | map('string') | length }}",
    "{{ ['a', 'A', 'b'] | unique | list }}{{ ['a', 'A'] | unique(true) | list }}", "{{ [2, 1] | min }}{{ ['b', 'A'] | max }}{{ [] | max is defined }}", "{{ [1, [2]] | join('-') }}{{ m | join(',', attribute='r') }}{{ 'abc' | join('.') }}", "{{ (1, 2) | first }}{{ 'ab' | last }}{{ range(3) | last }}{{ range(5, 0, -2) | list }}", "{{ range(100001) }}",
    "{{ m | selectattr('r', 'equalto', 'a') | first }}", "{{ m[0] | items | list }}{{ 'x' | items | list }}",
    # tests
    "{{ 1 is odd }}{{ 2 is even }}{{ 6 is divisibleby 3 }}{{ true is boolean }}{{ true is integer }}{{ true is number }}{{ 1.0 is float }}{{ 1 is true }}{{ true is true }}{{ none is none }}{{ 'a' is string }}{{ d is mapping }}{{ d is sequence }}{{ l is iterable }}{{ 1 is iterable }}{{ range is callable }}", "{{ 1 is not none and 2 is defined }}{{ 1 is in [1] }}{{ 1 is not in [1] }}{{ 'a' is eq 'a' }}{{ 3 is gt 2 }}{{ none is sameas none }}", "{{ 1 is divisibleby }}", "{{ not x is defined }}",
    # scopes
    "{% for i in l %}{% set y = i %}{% endfor %}{{ y }}", "{% set y = 0 %}{% for i in l %}{{ y }}{% set y = i %}{{ y }}{% endfor %}{{ y }}", "{% if true %}{% set y = 1 %}{% endif %}{{ y }}", "{% for i in l %}{{ x }}{% endfor %}{% set x = 2 %}{{ x }}", "{% if false %}{% set x = 1 %}{% endif %}{{ x }}", "{% for i in l %}{{ i }}{% endfor %}{{ i }}", "{% set f = 1 %}{% macro f() %}{{ x }}{% endmacro %}{% set x = 9 %}{{ f() }}", "{{ f() }}{% macro f() %}late{% endmacro %}",
    "{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f() }}{{ f(b=2) }}{{ f(1, b=3) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(z=2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=2) }}", "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, k='v') }}", "{% macro f() %}{{ caller('c') }}{% endmacro %}{% call(v) f() %}<{{ v }}{{ x }}>{% endcall %}", "{% macro f() %}{% endmacro %}{% call f() %}{% endcall %}", "{% macro f(n) %}{% if n %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}{{ f(2) | length }}",
    "{% set ns = namespace(a=1, b='x') %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}{{ ns['a'] }}", "{% set d.x = 1 %}", "{{ namespace(_x=1) }}", "{% set ns = namespace({'q': 1}, z=2) %}{{ ns.q }}{{ ns.z }}", "{% set a, b = 1, 2 %}{{ b }}{{ a }}{% set a, b = l %}", "{% for a, b in d.items() %}{{ a }}{{ b }}{% endfor %}{% for a, b in [[1, 2], 'xy'] %}{{ a }}{{ b }}{% endfor %}", "{% set t %}a{{ x }}b{% endset %}{{ t }}{% set t | upper | replace('A', 'c') %}a{{ x }}b{% endset %}{{ t }}", "{% filter upper %}a{{ x }}{% endfilter %}", "{% filter length %}abc{% endfilter %}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with x = 3, y = x %}{{ x }}{{ y }}{% endwith %}",
    # loops
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}|{% endfor %}", "{% for i in l if i > 1 %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{% else %}none{% endfor %}", "{% for i in l if i > 9 %}{% else %}none{% endfor %}", "{% for i in l %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "{% for i in l %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% else %}e{% endfor %}", "{% for i in l %}{% continue %}{% else %}e{% endfor %}", "{% for i in l %}{% for j in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}", "{% set ns = namespace(n=0) %}{% for i in l if ns.n < 2 %}{% set ns.n = ns.n + 1 %}{{ i }}{% endfor %}", "{% set ns = namespace(n=0) %}{% for i in l if ns.n < 2 %}{{ loop.last }}{% set ns.n = ns.n + 1 %}{{ i }}{% endfor %}", "{% for c in 'a\u00e9' %}{{ c }},{% endfor %}{% for k in d %}{{ k }},{% endfor %}", "{% for i in 5 %}{% endfor %}", "{% for i in none %}{% endfor %}", "{% for i in l | map('string') %}{{ loop.length }}{{ i }}{% endfor %}", "{% for i in l %}{{ loop.index if loop is defined }}{% endfor %}{{ loop is defined }}", "{% for i in l %}{% macro f() %}{{ i }}{{ loop.index }}{% endmacro %}{{ f() }}{% endfor %}",
    # white space
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  {%+ if true +%}\n  b\n  {%- endif -%}\n  c\n\n", "  {# c #}\n  {{ x }}  \n", "{% if true %}\n\n\nx{% endif %}", "a {%- if true -%} b {%- endif -%} c", "a\r\nb\rc\r\n", "x {% raw -%} {{ y }} {%- endraw %} z", "  {% raw %}  {{ y }}\n  {% endraw %}\nz", "{{ '{{' }}{{ '%}' }}{{ {'a': {}} }}", "{#- a\n-#}\n b", "a\u00a0{%- if true %}b{% endif %}", "\t{% set q = 1 %}\t\n\t{{ q }}", "{{- x -}}  y  {{- x }}\n", "a\n{{ x }}\nb", "{% for i in l %}\n{{ i }}\n{% endfor %}\n", "{% generation %}\n a\n{% endgeneration %}\nb",
    # errors of the template's own
    "{{ raise_exception('own ' ~ x) }}", "{% if false %}{{ raise_exception('no') }}{% endif %}ok",
    "{{ x if x is defined else raise_exception('no') }}", "{{ 'a' if false }}|{{ ('a' if false) is defined }}",
    "{{ loop }}",
    "{% macro f(a, b=0, c=0) %}{{ a }}{{ b }}{{ c }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(*l) }}{{ f(1, *[2, 3, 4]) }}{{ f(1, c=4, *[2]) }}{{ f(**{'a': 1, 'z': 2}) }}{{ f(1, *[2], **{'c': 3}) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(a=1, **{'a': 2}) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(*1) }}", "{{ f(**{}, a=1) }}", "{{ f(*l, *l) }}", "{{ dict(**{'b': 2}) }}{{ range(*[1, 3]) | list }}",
    "{{ 'ab1' is lower }}{{ 'aB' is lower }}{{ '1' is lower }}{{ 'A' is upper }}{{ none is upper }}", "{{ 'abc'.replace(old='a', new='b') }}", "{{ d.get(key='k') }}", "{{ 'a b'.split(maxsplit=0) }}{{ 'a,b'.split(sep=',') }}",
    "{{ dict(a=1) }}{{ dict([['k', 'v']]) }}{{ dict({'z': 1}, y=2) }}",
]
SNIPPET_CONTEXT = {
    "s": "s\u00e9\u65e5x", "l": [1, 2, 3], "d": {"k": "v", "items": 5, "B": None, "a": [1.5, {"z": 1, "y": True}]}, "x": 5,
    "m": [{"r": "b", "n": 2}, {"r": "a", "n": 0}, {"r": "C", "n": 2, "q": 1}],
}


def render(template, context):
    """('text', it), ('raised', text) or ('failed', None)."""
    try:
        return "text", template.render(**context)
    except jinja2.exceptions.TemplateError as error:
        return ("raised", str(error)) if type(error) is jinja2.exceptions.TemplateError else ("failed", None)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, AttributeError, IndexError, KeyError, RecursionError):
        return "failed", None


def digest(kind, text):
    digits = "" if text is None else hashlib.sha256(text.encode()).hexdigest()[:16]
    return digits if kind == "text" else "!" + digits


def compile_template(text):
    try:
        return _compile_jinja_template(text)
    except Exception:
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", nargs=2, metavar=("FOLDER", "OUT"))
    arguments = parser.parse_args()
    contexts = [conversation(seed) for seed in range(1000)]
    if arguments.published:
        with open(arguments.published[1], "w") as out:
            for path in sorted(pathlib.Path(arguments.published[0]).glob("*.jinja")):
                text = path.read_text(encoding="utf-8")
                template = _compile_jinja_template(text)
                for context in contexts:
                    kind, rendered = render(template, context)
                    line = {"name": path.name, "template": text, "context": context, kind: rendered}
                    out.write(json.dumps(line, ensure_ascii=False) + "\n")
        return
    folder = pathlib.Path(__file__).parent / "jinja"
    golden = {"versions": {"python": sys.version.split()[0], "jinja2": jinja2.__version__, "transformers": transformers.__version__}}
    golden["templates"] = {}
    for path in sorted(folder.glob("*.jinja")):
        template = _compile_jinja_template(path.read_text(encoding="utf-8"))
        results = [render(template, context) for context in contexts]
        kinds = [kind for kind, _ in results]
        print(path.name, {kind: kinds.count(kind) for kind in sorted(set(kinds))})
        golden["templates"][path.name] = [digest(*result) for result in results]
    golden["snippet_context"] = SNIPPET_CONTEXT
    golden["snippets"] = []
    for text in SNIPPETS:
        template = compile_template(text)
        kind, rendered = render(template, SNIPPET_CONTEXT) if template else ("failed", None)
        golden["snippets"].append([text, {"text": rendered, "raised": {"raised": rendered}, "failed": None}[kind]])
    golden["contexts"] = contexts
    rows = ",\n".join(json.dumps(key) + ":" + json.dumps(value, ensure_ascii=False, separators=(",", ":")) for key, value in golden.items())
    (folder / "golden.json").write_text("{" + rows + "}\n", encoding="utf-8")


main()
