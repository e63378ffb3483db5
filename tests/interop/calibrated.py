#!/usr/bin/env python3
"""GPTQ, AWQ, SparseGPT and SmoothQuant written down once more, in numpy and double, from their papers: what the quantizers are checked against.

    tests/interop/calibrated.py --golden tests/golden/calibrated.json   writes the cases of tests/backends/quantizers/calibrated_test.cc
    tests/interop/calibrated.py QUANTFLEET                              quantizes a folder with QUANTFLEET and does it again here: inputs of
                                                                        the layers from transformers, codes from this file; compares

GPTQ (Frantar et al. 2022): the inverse Hessian by numpy.linalg.inv and its upper Cholesky factor, column by column.
AWQ (Lin et al. 2023): errors from the inputs themselves, not from their second moments.
SparseGPT (Frantar & Alistarh 2023): two of every four, with rounding. SmoothQuant (Xiao et al. 2023): scales of columns.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(0)


def half(x):
    return np.float64(np.float16(np.float32(x)))


def fit(group, bits, symmetric):
    """Scale (as binary16) and zero point of the rows of group [N, g]."""
    low, high = np.minimum(group.min(1), 0), np.maximum(group.max(1), 0)
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    scale = np.maximum(np.array([half(s) for s in (high - low) / (2**bits - 1)]), 2.0**-24)
    zero = np.full(len(scale), 2 ** (bits - 1)) if symmetric else np.clip(np.round(-low / scale), 0, 2**bits - 1)
    return scale, zero


def codes_of(w, scale, zero, bits):
    return np.clip(np.round(w / scale) + zero, 0, 2**bits - 1)


def round_to_nearest(w, bits, size, symmetric):
    codes, values = np.zeros(w.shape, int), np.zeros(w.shape)
    for first in range(0, w.shape[1], size):
        scale, zero = fit(w[:, first:first + size], bits, symmetric)
        c = codes_of(w[:, first:first + size], scale[:, None], zero[:, None], bits)
        codes[:, first:first + size], values[:, first:first + size] = c, scale[:, None] * (c - zero[:, None])
    return codes, values


def gptq(w, x, bits, size, symmetric, act_order, damping):
    w = w.astype(np.float64).copy()
    rows, columns = w.shape
    size = columns if size < 0 else size
    hessian = x.astype(np.float64).T @ x.astype(np.float64)
    dead = np.diag(hessian) == 0
    hessian[dead, dead] = 1
    w[:, dead] = 0
    order = np.argsort(-np.diag(hessian), kind="stable") if act_order else np.arange(columns)
    w, hessian = w[:, order], hessian[order][:, order]
    hessian += damping * np.mean(np.diag(hessian)) * np.eye(columns)
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    codes = np.zeros(w.shape, int)
    for i in range(columns):
        if i % size == 0:
            scale, zero = fit(w[:, i:i + size], bits, symmetric)
        c = codes_of(w[:, i], scale, zero, bits)
        value = scale * (c - zero)
        w[:, i + 1:] -= np.outer((w[:, i] - value) / upper[i, i], upper[i, i + 1:])
        codes[:, order[i]], w[:, i] = c, value
    values = np.zeros(w.shape)
    values[:, order] = w
    return codes, values


def sparse_gpt(w, x, bits, size, damping, feedback=True):
    """Values [N, K]. Without feedback: Wanda's choice, rounded."""
    w = w.astype(np.float64).copy()
    hessian = x.astype(np.float64).T @ x.astype(np.float64)
    if not feedback:
        hessian = np.diag(np.diag(hessian))
    dead = np.diag(hessian) == 0
    hessian[dead, dead] = 1
    w[:, dead] = 0
    hessian += damping * np.mean(np.diag(hessian)) * np.eye(len(hessian))
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    diagonal = np.diag(upper)

    def kept(four):
        return np.argsort(-np.abs(w[:, four:four + 4]) / diagonal[four:four + 4], axis=1, kind="stable")[:, :2]

    for four in range(0, w.shape[1], 4):
        if four % size == 0:
            largest = np.max([np.take_along_axis(np.abs(w[:, i:i + 4]), kept(i), 1).max(1) for i in range(four, four + size, 4)], axis=0)
            scale = np.array([half(s) for s in np.maximum(largest / ((2**bits - 1) / 2), 2.0**-23)])
        mask = np.zeros((len(w), 4), bool)
        np.put_along_axis(mask, kept(four), True, 1)
        for i in range(4):
            column = four + i
            value = np.where(mask[:, i], scale * np.clip(np.round(w[:, column] / scale), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1), 0)
            w[:, column + 1:] -= np.outer((w[:, column] - value) / upper[column, column], upper[column, column + 1:])
            w[:, column] = value
    return w


def smoothing_scales(w, x, alpha):
    most_x, most_w = np.abs(x).max(0), np.abs(w).max(0)
    with np.errstate(divide="ignore"):
        return np.where((most_x > 0) & (most_w > 0), np.maximum(most_x**alpha / most_w ** (1 - alpha), 1e-5), 1)


def awq_scales(w, x, bits, size, steps=20):
    w, x = w.astype(np.float64), x.astype(np.float64)
    mean_x = np.abs(x).mean(0)
    grouped = np.abs(w).reshape(w.shape[0], -1, size)
    mean_w = (grouped / (grouped.max(2, keepdims=True) + 1e-6)).reshape(w.shape).mean(0)
    wanted = x @ w.T
    best, best_error = None, np.inf
    for step in range(steps):
        r = step / steps
        s = np.maximum(mean_x**r / (mean_w ** (1 - r) + 1e-4), 1e-4)
        s /= np.sqrt(s.max() * s.min())
        _, values = round_to_nearest(w * s, bits, size, False)
        error = np.sum((x @ (values / s).T - wanted) ** 2)
        if error < best_error:
            best, best_error = s, error
    return best


def awq_clip(w, x, bits, size, steps=20):
    w = w.astype(np.float64).copy()
    for first in range(0, w.shape[1], size):
        part, inputs = w[:, first:first + size], x[:, first:first + size].astype(np.float64)
        wanted = inputs @ part.T
        best_error, best = np.full(len(part), np.inf), part.copy()
        for step in range(steps // 2):
            limit = np.abs(part).max(1, keepdims=True) * (1 - step / steps)
            clipped = np.clip(part, -limit, limit)
            _, values = round_to_nearest(clipped, bits, size, False)
            error = np.sum((inputs @ values.T - wanted) ** 2, 0)
            better = error < best_error
            best_error[better], best[better] = error[better], clipped[better]
        w[:, first:first + size] = best
    return w


def relative_error(values, w, x):
    return float(np.sum((x @ (values - w).T) ** 2) / np.sum((x @ w.T) ** 2))


def unpack(arrays, name, bits):
    """Codes [N, K] and zero points [G, N] of a GPTQ module."""
    def fields(words, count):
        flat = words.astype(np.uint32)
        return np.array([[(int(row[i * bits // 32]) | (int(row[min(i * bits // 32 + 1, len(row) - 1)]) << 32)) >> (i * bits % 32) & (2**bits - 1) for i in range(count)] for row in flat])

    qweight, qzeros = arrays[name + ".qweight"], arrays[name + ".qzeros"]
    return fields(qweight.T, qweight.shape[0] * 32 // bits), fields(qzeros, qzeros.shape[1] * 32 // bits)


def compare(program):
    """Everything again in torch and numpy: the tiny model of tests/golden/huggingface/llama, inputs by hooks, codes by gptq()."""
    try:
        import torch
        import transformers
        from safetensors.torch import load_file
    except ImportError as missing:
        print(f"skipped: {missing}")
        return 0
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "huggingface")
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "llama")
        os.mkdir(source)
        for path in [os.path.join(root, "tokenizer.json"), os.path.join(root, "tokenizer_config.json")] + [os.path.join(root, "llama", f) for f in ("config.json", "model.safetensors")]:
            with open(path, "rb") as file, open(os.path.join(source, os.path.basename(path)), "wb") as copy:
                copy.write(file.read())
        words = ["The ", "river ", "runs ", "12 ", "boats;", " (old) ", "mill", "\n", "Zebra ", "a"]
        rng = np.random.default_rng(3)
        text = "".join(words[i] for i in rng.integers(len(words), size=6000))
        with open(os.path.join(folder, "text.txt"), "w") as file:
            file.write(text)
        context = 64
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(source, "tokenizer.json"))
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        windows = torch.tensor(ids[:len(ids) // context * context]).reshape(-1, context)
        for name, bits, size, symmetric, act_order in [("GPTQ-4bit-g16", 4, 16, True, False), ("GPTQ-4bit-g32-asym-actorder", 4, 32, False, True)]:
            out = os.path.join(folder, name)
            subprocess.run([program, "quantize", source, out, "--format", name, "--text", os.path.join(folder, "text.txt"), "--context", str(context), "--chunks", "0"],
                           check=True, stdout=subprocess.DEVNULL)
            arrays = {key: value.numpy() for key, value in load_file(os.path.join(out, "model.safetensors")).items() if key.endswith((".qweight", ".qzeros"))}
            model = transformers.LlamaForCausalLM.from_pretrained(source, dtype=torch.float32)
            equal = total = 0
            for index, layer in enumerate(model.model.layers):
                for group in (["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], ["self_attn.o_proj"], ["mlp.gate_proj", "mlp.up_proj"], ["mlp.down_proj"]):
                    seen = []
                    hook = layer.get_submodule(group[0]).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].reshape(-1, inputs[0].shape[-1])))
                    with torch.no_grad():
                        model(windows)
                    hook.remove()
                    x = torch.cat(seen).numpy()
                    for module in group:
                        linear = layer.get_submodule(module)
                        codes, values = gptq(linear.weight.detach().numpy(), x, bits, size, symmetric, act_order, 0.01)
                        ours, _ = unpack(arrays, f"model.layers.{index}.{module}", bits)
                        equal, total = equal + int((ours == codes).sum()), total + codes.size
                        linear.weight.data = torch.tensor(values, dtype=torch.float32)
            print(f"{name}: {equal} of {total} codes equal")
            bad += equal < 0.98 * total
    return 1 if bad else 0


def golden(path):
    """Correlated inputs with two large columns and a dead one, as activations have them."""
    rng = np.random.default_rng(7)
    columns, rows, tokens = 32, 8, 96
    mix = rng.normal(size=(columns, columns)) / np.sqrt(columns) + np.eye(columns)
    x = rng.normal(size=(tokens, columns)) @ mix
    x[:, 5] *= 8
    x[:, 20] *= 4
    x[:, 11] = 0
    x = np.round(x, 3)
    w = np.round(rng.normal(size=(rows, columns)) * 0.05, 4)
    cases = []
    for bits, size, symmetric, act_order in [(4, 16, True, False), (4, 8, False, False), (3, 16, True, True), (2, -1, False, False), (8, 32, True, True)]:
        codes, values = gptq(w, x, bits, size, symmetric, act_order, 0.01)
        nearest = round_to_nearest(w, bits, columns if size < 0 else size, symmetric)[1]
        cases.append({"bits": bits, "group_size": size, "symmetric": symmetric, "act_order": act_order, "codes": codes.tolist(),
                      "error": relative_error(values, w, x), "nearest_error": relative_error(nearest, w, x)})
    scales = awq_scales(w, x, 4, 16)
    clipped = awq_clip(w * scales, x / scales, 4, 16)
    codes, values = round_to_nearest(clipped, 4, 16, False)
    awq = {"group_size": 16, "scales": scales.tolist(), "clipped": clipped.tolist(), "codes": codes.tolist(), "error": relative_error(values / scales, w, x),
           "nearest_error": relative_error(round_to_nearest(w, 4, 16, False)[1], w, x)}
    sparse = []
    for bits, size in [(4, 16), (8, 32)]:
        values = sparse_gpt(w, x, bits, size, 0.01)
        sparse.append({"bits": bits, "group_size": size, "values": values.tolist(), "error": relative_error(values, w, x), "wanda_error": relative_error(sparse_gpt(w, x, bits, size, 0.01, False), w, x)})
        print(f"SparseGPT {bits} bit: output error {sparse[-1]['error']:.3g}, Wanda {sparse[-1]['wanda_error']:.3g}")
    smooth = [{"alpha": alpha, "scales": smoothing_scales(w, x, alpha).tolist()} for alpha in (0.5, 0.85)]
    with open(path, "w") as file:
        json.dump({"origin": "tests/interop/calibrated.py --golden, numpy " + np.__version__, "x": x.tolist(), "w": w.tolist(), "gptq": cases, "awq": awq, "sparse_gpt": sparse, "smoothquant": smooth}, file)
    for case in cases:
        print(f"GPTQ {case['bits']} bit, groups of {case['group_size']}: output error {case['error']:.3g}, nearest {case['nearest_error']:.3g}")
    print(f"AWQ: output error {awq['error']:.3g}, nearest {awq['nearest_error']:.3g}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?")
    parser.add_argument("--golden")
    arguments = parser.parse_args()
    if arguments.golden:
        golden(arguments.golden)
    if arguments.program:
        sys.exit(compare(arguments.program))
