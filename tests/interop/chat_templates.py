#!/usr/bin/env python3
"""Writes tests/golden/chat/cases.json: conversations and what Jinja 3.1 makes of them with the templates beside it.

    tests/interop/chat_templates.py          compares the file with what Jinja says now; exit code 0 also where jinja2 is missing
    tests/interop/chat_templates.py --write  writes it
"""
import json
import os
import sys

try:
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(0)

FOLDER = os.path.join(os.path.dirname(__file__), "..", "golden", "chat")
USER = {"role": "user", "content": " How far is the moon? \n"}
SYSTEM = {"role": "system", "content": "Answer in one word."}
ANSWER = {"role": "assistant", "content": " Far. "}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nFar."}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look", "arguments": "{\"at\": \"moon\"}"}}]}
TOOL = {"role": "tool", "content": "384400 km"}
PARTS = {"role": "user", "content": [{"type": "text", "text": " one "}, {"type": "image"}, {"type": "text", "text": "two"}]}
TEXTS = {"role": "user", "content": [{"type": "text", "text": " one "}, {"type": "text", "text": "two"}]}
TOOLS = [{"type": "function", "function": {"description": "looks", "name": "look", "parameters": {"at": "text"}}}]
CONVERSATIONS = [
    ([USER], {}), ([SYSTEM, USER], {}), ([USER, ANSWER, USER], {}), ([SYSTEM, USER, ANSWER, USER], {}), ([USER, USER], {}),
    ([USER], {"add_generation_prompt": False}), ([USER, ANSWER], {"add_generation_prompt": False}), ([USER, THOUGHT, USER, THOUGHT], {"add_generation_prompt": False}),
    ([USER], {"enable_thinking": False}), ([USER, CALL, TOOL, TOOL], {"tools": TOOLS}), ([PARTS], {}), ([SYSTEM, PARTS], {}), ([], {}),
    ([USER | {"mood": "calm"}, ANSWER], {}), ([TEXTS, ANSWER], {}),
]
USES = {"macros.jinja": [0, 2, 13, 14], "gemma3.jinja": [0, 1, 2, 3, 4, 5, 10, 11], "qwen3.jinja": [0, 1, 2, 3, 5, 7, 8, 9], "llama3.jinja": [0, 1, 2, 3, 5, 9],
        "mistral.jinja": [0, 1, 2, 3, 4, 5], "qwen2.jinja": [0, 1, 2, 3, 5], "gemma2.jinja": [0, 1, 2, 4, 5], "phi3.jinja": [0, 1, 2, 3, 5]}


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def main():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent, sort_keys=True)
    environment.globals["raise_exception"] = raise_exception
    cases = []
    for name in sorted(USES):
        with open(os.path.join(FOLDER, name)) as file:
            template = environment.from_string(file.read())
        for use in USES[name]:
            messages, more = CONVERSATIONS[use]
            variables = {"messages": messages, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"} | more
            try:
                expected = template.render(**variables)
            except (jinja2.exceptions.TemplateError, TypeError) as error:
                print(f"{name} {use}: {error}")
                expected = None
            cases.append({"template": name, "variables": variables, "expected": expected})
    text = json.dumps(cases, indent=1, ensure_ascii=False) + "\n"
    path = os.path.join(FOLDER, "cases.json")
    if "--write" in sys.argv:
        with open(path, "w") as file:
            file.write(text)
        return 0
    with open(path) as file:
        same = file.read() == text
    print(f"{len(cases)} conversations: Jinja {jinja2.__version__} {'agrees with' if same else 'DIFFERS from'} {path}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
