#!/usr/bin/env python3
"""Folders of w8a8-static in transformers with compressed-tensors: the same logits as ours with int8 activations, and with F32 ones where it is told to
dequantize (which leaves the inputs' scales out).

    tests/interop/static_int8.py QUANTFLEET        exit code 0 also where a package is missing (it says which)

compressed-tensors rounds inputs by the stored scale and multiplies as floats, so sums differ in the last bits. (Of mixtures transformers 5 joins the
experts of plain checkpoints only.)
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import compressed_tensors
    import numpy as np
    import torch
    import transformers
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(0)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "huggingface")


def copy_golden(name, folder):
    os.mkdir(folder)
    for path in [os.path.join(ROOT, f) for f in ("tokenizer.json", "tokenizer_config.json")] + [os.path.join(ROOT, name, f) for f in ("config.json", "model.safetensors")]:
        with open(path, "rb") as source, open(os.path.join(folder, os.path.basename(path)), "wb") as target:
            target.write(source.read())


def our_logits(program, folder, ids, activations):
    out = os.path.join(folder, "..", "logits.f32")
    subprocess.run([program, "logits", folder, "--tokens", ",".join(map(str, ids)), "--activations", activations, "--out", out], check=True, stdout=subprocess.DEVNULL)
    return np.fromfile(out, dtype=np.float32).reshape(len(ids), -1).astype(np.float64)


def divergence(a, b):
    p, q = (x - x.max(1, keepdims=True) for x in (a, b))
    p, q = p - np.log(np.exp(p).sum(1, keepdims=True)), q - np.log(np.exp(q).sum(1, keepdims=True))
    return float((np.exp(p) * (p - q)).sum(1).mean())


def main(program):
    rng = np.random.default_rng(4)
    words = ["The ", "river ", "runs ", "12 ", "boats;", " (old) ", "mill", "\n", "Zebra ", "a"]
    calibration = "".join(words[i] for i in rng.integers(len(words), size=4000))
    ids = transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(ROOT, "tokenizer.json"))(calibration[:400], add_special_tokens=False)["input_ids"][:48]
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        text = os.path.join(scratch, "text.txt")
        with open(text, "w") as file:
            file.write(calibration)
        for name, smooth in [("llama", "0"), ("llama", "0.5"), ("qwen2", "0.5"), ("mistral", "0.85")]:
            source, out = os.path.join(scratch, f"{name}-{smooth}"), os.path.join(scratch, f"{name}-{smooth}-w8a8")
            copy_golden(name, source)
            subprocess.run([program, "quantize", source, out, "--format", "w8a8-static", "--smoothquant", smooth, "--text", text, "--context", "64"], check=True, stdout=subprocess.DEVNULL)
            plain = our_logits(program, source, ids, "f32")
            for activations in ("int8", "f32"):
                ours = our_logits(program, out, ids, activations)
                dequantize = {"quantization_config": transformers.utils.quantization_config.CompressedTensorsConfig(dequantize=True)} if activations == "f32" else {}
                model = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager", **dequantize).eval()
                with torch.no_grad():
                    theirs = model(torch.tensor([ids])).logits[0].double().numpy()
                cost, apart = divergence(plain, ours), divergence(theirs, ours)
                agree = apart < 1e-3 * cost
                failures += not agree
                print(f"{name:8} alpha {smooth:4} {activations:4} divergence from the model {cost:.2e}, between the programs {apart:.2e}, largest difference of logits {np.abs(theirs - ours).max():.1e}  {'ok' if agree else 'DIFFERENT'}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
