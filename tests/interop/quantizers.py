#!/usr/bin/env python3
"""Our data-free quantizers against the packages that define the formats: the same weight, array by array, byte by byte.

    tests/interop/quantizers.py QUANTFLEET                 compares; exit code 0 also where a package is missing (it says which)
    tests/interop/quantizers.py QUANTFLEET --golden FILE   writes one weight and what the packages make of it (tests/golden/quantizers.safetensors)

NF4, FP4, double quantization and int8 by bitsandbytes (CPU), HQQ by hqq, W4A16 and W8A8 by compressed-tensors, FP8 by torch. Where a package
sums in another order (the mean under double quantization, HQQ's zero points), the share of equal bytes is printed and must be near 1.
GGUF's block formats by the gguf package: its bytes of those that it quantizes, and of all that it decodes the values of ours.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

try:
    import torch
    from safetensors.torch import load_file, save_file
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(0)

GROUP = 32


def bnb4(weight, kind, nested):
    from bitsandbytes import functional

    packed, state = functional.quantize_4bit(weight, quant_type=kind, compress_statistics=nested, blocksize=64)
    arrays = {"weight." + key: value for key, value in state.as_dict(packed=True).items() if "quant_state" not in key}
    return {"weight": packed} | arrays


def bnb8(weight):
    from bitsandbytes import functional

    codes, scales, _ = torch.ops.bitsandbytes.int8_vectorwise_quant.default(weight)
    return {"weight": codes, "SCB": scales.float()}


def hqq(weight, bits):
    from hqq.core.quantize import Quantizer

    codes, meta = Quantizer.quantize(weight, nbits=bits, group_size=GROUP, optimize=True, round_zero=bits == 4, axis=1, device="cpu")
    return {"W_q": codes, "scale": meta["scale"].half(), "zero": meta["zero"].half()}


def hqq_values(arrays, bits, shape):
    """What the package makes of such arrays, in F32."""
    from hqq.core.quantize import Quantizer

    meta = {"nbits": bits, "group_size": GROUP, "shape": shape, "axis": 1, "packing": Quantizer.bit_to_packing[bits], "view_as_float": False, "unpack_view_dtype": Quantizer.unpack_view_dtype[Quantizer.bit_to_packing[bits]],
            "compute_dtype": torch.float32, "scale": arrays["scale"].float(), "zero": arrays["zero"].float()}
    return Quantizer.dequantize(arrays["W_q"], meta).float().reshape(shape)


def fp8(weight, dtype, by_row):
    top = torch.finfo(dtype).max
    scale = ((weight.abs().amax(1, keepdim=True) if by_row else weight.abs().max().reshape(1)) / top).clamp(min=torch.finfo(torch.float32).tiny)
    return {"weight": (weight / scale).to(dtype), "weight_scale": scale}


def compressed(weight, bits, strategy, symmetric):
    from compressed_tensors.compressors import pack_to_int32
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    outputs, inputs = weight.shape
    args = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, strategy=strategy, group_size=GROUP if strategy == "group" else None)
    parts = weight.reshape(outputs, -1, GROUP) if strategy == "group" else weight.reshape(outputs, 1, inputs)
    scale, zero = calculate_qparams(parts.amin(2), parts.amax(2), args)
    stored = scale.half() if bits == 4 else scale.float()
    if not symmetric:  # the zero point for the scale as stored
        zero = torch.clamp(torch.round(-8 - parts.amin(2).clamp(max=0) / stored.float()), -8, 7)
    codes = quantize(weight, stored.float(), zero, args, dtype=torch.int8)
    if bits == 8:
        return {"weight": codes, "weight_scale": stored}
    arrays = {"weight_packed": pack_to_int32(codes, 4), "weight_scale": stored, "weight_shape": torch.tensor([outputs, inputs])}
    if not symmetric:
        arrays["weight_zero_point"] = pack_to_int32(zero.to(torch.int8), 4, packed_dim=0)
    return arrays


FORMATS = {
    "bnb-nf4": lambda w: bnb4(w, "nf4", False), "bnb-nf4-dq": lambda w: bnb4(w, "nf4", True), "bnb-fp4": lambda w: bnb4(w, "fp4", False),
    "bnb-int8": bnb8, "hqq-8": lambda w: hqq(w, 8), "hqq-4": lambda w: hqq(w, 4), "hqq-3": lambda w: hqq(w, 3), "hqq-2": lambda w: hqq(w, 2), "hqq-1": lambda w: hqq(w, 1),
    "fp8-e4m3": lambda w: fp8(w, torch.float8_e4m3fn, False), "fp8-e4m3-channel": lambda w: fp8(w, torch.float8_e4m3fn, True),
    "fp8-e5m2": lambda w: fp8(w, torch.float8_e5m2, False), "fp8-e5m2-channel": lambda w: fp8(w, torch.float8_e5m2, True),
    "w4a16": lambda w: compressed(w, 4, "group", True), "w4a16-asym": lambda w: compressed(w, 4, "group", False), "w8a8": lambda w: compressed(w, 8, "channel", True),
}
GROUPED = ("hqq", "w4a16")
INEXACT = ("bnb-nf4-dq", "hqq")  # sums in another order


def bytes_of(array):
    return array.contiguous().view(torch.uint8).flatten() if array.dim() else array.reshape(1).view(torch.uint8)


def weight_of(outputs, inputs, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator) * 0.05
    weight[1, 3], weight[2], weight[3, :GROUP] = 1.5, 0.0, 0.002  # an outlier, a row of zeros, a flat group
    return weight.to(torch.bfloat16).float()


def plain_folder(folder, names, width=128):
    """A Llama of one layer with the weights `names`, and the tokenizer of the golden folders."""
    config = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=width, intermediate_size=2 * width, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
                  vocab_size=288, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=True)
    arrays = {name: weight.to(torch.bfloat16) for name, weight in names.items()}
    arrays |= {"model.embed_tokens.weight": torch.randn(288, width).to(torch.bfloat16), "model.norm.weight": torch.ones(width)}
    arrays |= {f"model.layers.0.{name}.weight": torch.ones(width) for name in ("input_layernorm", "post_attention_layernorm")}
    save_file(arrays, os.path.join(folder, "model.safetensors"))
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    golden = os.path.join(os.path.dirname(__file__), "../golden/huggingface")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        with open(os.path.join(golden, name), "rb") as source, open(os.path.join(folder, name), "wb") as target:
            target.write(source.read())


GGUF = ["BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS"]
GGUF_FILES = {"Q2_K": "Q2_K_S", "Q3_K": "Q3_K_S", "Q4_K": "Q4_K_S", "Q5_K": "Q5_K_S", "IQ2_S": "IQ2_M"}  # mixes that hold the format
WEIGHED = ("Q2_K_S", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_M", "IQ3_XXS")


def compare_gguf(program, plain, scratch):
    """How many of the formats differ from the gguf package, byte by byte or value by value."""
    try:
        import numpy as np
        from gguf import GGMLQuantizationType, GGUFReader, quants
    except ImportError as missing:
        print(f"GGUF               skipped: {missing}")
        return 0
    failures = 0
    text = os.path.join(scratch, "text.txt")
    with open(text, "w") as file:
        file.write("The river runs past the old mill, and 12 boats wait. " * 60)
    imatrix = os.path.join(scratch, "imatrix.dat")
    made = subprocess.run([program, "imatrix", plain, "--text", text, "--context", "64", "--out", imatrix], capture_output=True)
    if made.returncode:
        print(made.stderr.decode().strip())
        return 1
    for name in GGUF:
        kind = GGMLQuantizationType[name]
        mix = GGUF_FILES.get(name, name)
        path, floats = os.path.join(scratch, name + ".gguf"), os.path.join(scratch, name + ".f32.gguf")
        run = subprocess.run([program, "quantize", plain, path, "--format", mix] + (["--imatrix", imatrix] if mix in WEIGHED else []), capture_output=True)
        if run.returncode == 0:
            run = subprocess.run([program, "convert", path, floats, "--format", "f32"], capture_output=True)
        if run.returncode:
            print(f"{name:18} {run.stderr.decode().strip()}")
            failures += 1
            continue
        decoded = {tensor.name: tensor for tensor in GGUFReader(floats).tensors}
        plain_values = {tensor.name: tensor for tensor in GGUFReader(os.path.join(scratch, "plain.gguf")).tensors}
        tensors = values = bytes_same = bytes_all = 0
        encodes = True
        for tensor in GGUFReader(path).tensors:
            if tensor.tensor_type != kind:
                continue
            tensors += 1
            ours = decoded[tensor.name].data
            values += int(np.array_equal(quants.dequantize(tensor.data, kind).reshape(ours.shape), ours))
            try:
                theirs = quants.quantize(plain_values[tensor.name].data, kind)
            except NotImplementedError:
                encodes = False
                continue
            bytes_same += int((theirs.view(np.uint8) == tensor.data.view(np.uint8)).sum())
            bytes_all += theirs.view(np.uint8).size
        agree = tensors > 0 and values == tensors and bytes_same == bytes_all
        failures += not agree
        coded = f"{bytes_same} of {bytes_all} bytes equal" if encodes else "not encoded there"
        print(f"GGUF {name:13} {values} of {tensors} tensors decode alike, {coded}  {'ok' if agree else 'DIFFERENT'}")
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--golden")
    options = parser.parse_args()
    sizes = {"self_attn.q_proj": (128, 128), "self_attn.k_proj": (64, 128), "self_attn.v_proj": (64, 128), "self_attn.o_proj": (128, 128),
             "mlp.gate_proj": (256, 128), "mlp.up_proj": (256, 128), "mlp.down_proj": (128, 256)}
    weights = {f"model.layers.0.{name}.weight": weight_of(*size, seed) for seed, (name, size) in enumerate(sizes.items())}
    golden = {"weight": weight_of(16, 128, 99)}
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        plain = os.path.join(scratch, "plain")
        os.makedirs(plain)
        plain_folder(plain, weights)
        for name, make in FORMATS.items():
            out = os.path.join(scratch, name)
            command = [options.program, "quantize", plain, out, "--format", name] + (["--group-size", str(GROUP)] if name.startswith(GROUPED) else [])
            run = subprocess.run(command, capture_output=True)
            if run.returncode:
                print(f"{name:18} {run.stderr.decode().strip()}")
                failures += 1
                continue
            try:
                made = make(golden["weight"].clone())
                golden |= {f"{name}.{suffix}": array.contiguous() for suffix, array in made.items()}
                if name.startswith("hqq"):
                    golden[f"{name}.values"] = hqq_values(made, int(name[-1]), golden["weight"].shape)
                expected = {module: make(weight.clone()) for module, weight in weights.items()}
            except ImportError as missing:
                print(f"{name:18} skipped: {missing}")
                continue
            ours = load_file(os.path.join(out, "model.safetensors"))
            same, total, shapes = 0, 0, True
            for module, arrays in expected.items():
                for suffix, array in arrays.items():
                    mine = ours.get(module.removesuffix("weight") + suffix)
                    if mine is None or mine.dtype != array.dtype or mine.shape != array.shape:
                        print(f"{name:18} {module} {suffix}: {'missing' if mine is None else (mine.dtype, tuple(mine.shape))}; expected {array.dtype}, {tuple(array.shape)}")
                        shapes = False
                        continue
                    same += int((bytes_of(mine) == bytes_of(array)).sum())
                    total += bytes_of(array).numel()
            share = same / max(total, 1)
            agree = shapes and (share == 1 or (name.startswith(INEXACT) and share > 0.98))
            failures += not agree
            print(f"{name:18} {same} of {total} bytes equal ({100 * share:.3f} %)  {'ok' if agree else 'DIFFERENT'}")
        wide = os.path.join(scratch, "wide")  # rows of whole super-blocks
        os.makedirs(wide)
        plain_folder(wide, {f"model.layers.0.{name}.weight": weight_of(2 * rows, 2 * columns, seed) for seed, (name, (rows, columns)) in enumerate(sizes.items())}, 256)
        subprocess.run([options.program, "convert", wide, os.path.join(scratch, "plain.gguf"), "--format", "f32"], check=True, capture_output=True)
        failures += compare_gguf(options.program, wide, scratch)
    if options.golden:
        save_file(golden, options.golden, metadata={"made_by": f"tests/interop/quantizers.py, torch {torch.__version__}"})
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
