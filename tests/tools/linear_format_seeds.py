#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/linear_format: one small module of each quantized folder, in the layout of tests/fuzz/fuzz_linear_format.cc.

    tests/tools/linear_format_seeds.py FOLDER...    Hugging Face folders, each with one seed named after it (tests/golden/huggingface/*, and
                                                    what `quantfleet quantize` makes of a tiny model in hqq-*, ternary, sparse24-*, lossless-bf16)
"""
import json
import os
import struct
import sys

# In the order of all_linear_formats and kDtypes; suffixes as the format's file has them, then "weight" and "bias".
FORMATS = {
    "gptq": "qweight qzeros scales g_idx",
    "awq": "qweight qzeros scales",
    "bitsandbytes": "weight.absmax weight.quant_map weight.quant_state.bitsandbytes__nf4 weight.quant_state.bitsandbytes__fp4 weight.nested_absmax "
                    "weight.nested_quant_map SCB weight_format",
    "compressed-tensors": "weight_packed weight_scale weight_shape weight_zero_point weight_g_idx weight_global_scale input_scale input_zero_point input_global_scale",
    "fp8": "weight_scale_inv weight_scale input_scale",
    "exl2": "q_weight q_scale q_scale_max q_groups q_invperm q_perm",
    "hqq": "W_q scale zero nbits group_size shape axis packing unpack_view_dtype view_as_float quant_scale quant_zero compute_dtype offload_meta "
           "encoded_state_dict stores_quant_config channel_wise optimize round_zero",
    "bitnet": "weight_scale",
    "quantfleet-sparse": "weight_values weight_places weight_scale",
    "quantfleet-lossless": "weight_sign_mantissa weight_exponents weight_row_bytes weight_code_lengths",
}
DTYPES = "F32 F16 BF16 I32 U8 I8 F8_E4M3 F8_E5M2 I64 I16 U32 U16".split()

for folder in sys.argv[1:]:
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file).get("quantization_config")
    if not config:
        continue
    with open(os.path.join(folder, "model.safetensors"), "rb") as file:
        data = file.read()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    suffixes = FORMATS[config["quant_method"]].split() + ["weight", "bias"]
    module = sorted(name for name in header if ".self_attn.k_proj." in name)[0].split(".k_proj.")[0] + ".k_proj."
    settings = json.dumps(config).encode()
    arrays = [(suffixes.index(name[len(module):]), header[name]) for name in sorted(header) if name.startswith(module)]
    seed = struct.pack("<BH", list(FORMATS).index(config["quant_method"]), len(settings)) + settings + struct.pack("<B", len(arrays))
    for suffix, entry in arrays:
        begin, stop = entry["data_offsets"]
        seed += struct.pack("<BBB", suffix, DTYPES.index(entry["dtype"]), len(entry["shape"])) + struct.pack(f"<{len(entry['shape'])}H", *entry["shape"])
        seed += data[end + begin:end + stop]
    name = os.path.basename(os.path.normpath(folder))
    with open(os.path.join(os.path.dirname(__file__), "..", "fuzz", "corpus", "linear_format", name), "wb") as file:
        file.write(seed)
    print(name, len(seed))
