#!/usr/bin/env python3
"""External engines against real servers: llama.cpp's server (of the package xllamacpp) and llama-cpp-python's, each with the reference model and
a quantized copy. Token conformance must hold, no item may fail, and answers must be the native engine's but for the few that rounding tips.

    tests/interop/servers.py QUANTFLEET        compares; exit code 0 also where a package is missing (it says which)
"""
import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
REFERENCE = ROOT / "models" / "reference" / "reference.gguf"
PORT = 18231

LLAMA_SERVER = """
import sys, time, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.port, parameters.n_parallel, parameters.n_ctx = sys.argv[1], int(sys.argv[2]), 4, 1024
server = xllamacpp.Server(parameters)
while True: time.sleep(1)
"""

# What is needed, the command, the dialect, the suites it can answer.
SERVERS = [
    ("xllamacpp", [sys.executable, "-c", LLAMA_SERVER, "{model}", str(PORT)], "llama-server", ["math", "safety", "coding"]),
    ("llama_cpp.server", [sys.executable, "-m", "llama_cpp.server", "--model", "{model}", "--port", str(PORT), "--n_ctx", "256", "--logits_all", "true"],
     "openai", ["math", "safety", "knowledge", "language"]),
]


def installed(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def answers(process):
    for _ in range(300):
        if process.poll() is not None:
            return False
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v1/models", timeout=2).read()
            return True
        except OSError:
            time.sleep(0.2)
    return False


def rows(document):
    return {(suite["name"], row["item"]): row for suite in document["suites"] for row in suite["rows"]}


def evaluate(program, model, suites, extra, code=0):
    done = subprocess.run([program, "evaluate", str(model), "--suite", *suites, "--limit", "100", "--json", *extra], capture_output=True, text=True)
    if done.returncode != code:
        sys.exit(f"evaluate {model} {' '.join(extra)} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout) if code == 0 else done.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quantfleet")
    program = os.path.abspath(parser.parse_args().quantfleet)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        quantized, other = pathlib.Path(folder) / "q8_0.gguf", pathlib.Path(folder) / "other"
        subprocess.run([program, "quantize", str(REFERENCE), str(quantized), "--format", "Q8_0"], check=True, capture_output=True)
        other.mkdir()
        golden = ROOT / "tests" / "golden" / "huggingface"
        for name in ["tokenizer.json", "tokenizer_config.json", "llama/config.json", "llama/model.safetensors"]:
            (other / pathlib.Path(name).name).write_bytes((golden / name).read_bytes())
        for package, command, dialect, suites in SERVERS:
            if not installed(package):
                print(f"skipped: {package} is not installed")
                continue
            for model in [REFERENCE, quantized]:
                log = open(pathlib.Path(folder) / "log", "w")
                server = subprocess.Popen([part.format(model=model) if "{model}" in part else part for part in command], stdout=log, stderr=subprocess.STDOUT)
                try:
                    if not answers(server):
                        sys.exit(f"{package} did not start: {open(log.name).read()[-2000:]}")
                    where = ["--engine", f"http://127.0.0.1:{PORT}", "--dialect", dialect]
                    native, served = rows(evaluate(program, model, suites, [])), rows(evaluate(program, model, suites, where))
                    if native.keys() != served.keys():
                        sys.exit(f"{dialect}: other items")
                    errors = [row for row in served.values() if row["error"]]
                    outputs = sum(native[key].get("output") == served[key].get("output") for key in native)
                    scores = sum(native[key]["scores"].get("accuracy") == served[key]["scores"].get("accuracy") for key in native if not served[key]["error"])
                    print(f"{dialect} {model.name}: {len(native)} items, {len(errors)} errors, {outputs} outputs and {scores} scores as the native engine's")
                    if errors or scores < 0.98 * len(native):
                        failures += 1
                        print("\n".join(row["error"] for row in errors[:3]))
                    if dialect == "llama-server":
                        refused = evaluate(program, other, ["math"], where, code=2)
                        print(f"  another model's tokenizer: {refused.strip()}")
                finally:
                    server.kill()
                    server.wait()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
