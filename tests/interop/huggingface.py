#!/usr/bin/env python3
"""Hugging Face folders against transformers: tiny random models of every architecture, saved by transformers, whose F32 logits
must be ours.  Quantized folders against the packages that define them.

    tests/interop/huggingface.py QUANTFLEET            compares; exit code 0 also where a package is missing (it says which)
    tests/interop/huggingface.py QUANTFLEET --golden D writes the folders and their logits below D (tests/golden/huggingface)

Packing: GPTQ by GPTQModel, AWQ by AutoAWQ, NF4, FP4 and int8 by bitsandbytes, W4A16, W8A8 and NVFP4 by compressed-tensors, FP8 by torch;
EXL2 has no package that runs without a GPU and is packed here as its specification says.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    import transformers
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(0)

TEXTS = ["The river runs past the old mill, and 12 boats wait.", "int main() { return 0; }\n", "Grüße aus Zürich", "a a a a b b"]


def tokenizer_file(folder):
    """A byte-level BPE of 288 tokens, pre-tokenized as GPT-2 does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=288, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        json.dump({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": False}, file)
    return tokenizer


def configs():
    t = transformers
    common = dict(vocab_size=288, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                  max_position_embeddings=128, bos_token_id=0, eos_token_id=1, pad_token_id=None)
    yield "llama", t.LlamaConfig(**common)
    yield "llama3", t.LlamaConfig(**common, tie_word_embeddings=True, rope_theta=500.0,
                                  rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64))
    yield "mistral", t.MistralConfig(**common, sliding_window=16)
    yield "qwen2", t.Qwen2Config(**common)
    yield "qwen3", t.Qwen3Config(**common, head_dim=16)
    yield "mixtral", t.MixtralConfig(**common, num_local_experts=4, num_experts_per_tok=2)
    yield "qwen2_moe", t.Qwen2MoeConfig(**common, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, shared_expert_intermediate_size=32)
    yield "qwen3_moe", t.Qwen3MoeConfig(**common, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, norm_topk_prob=True,
                                        mlp_only_layers=[1])
    yield "gemma", t.GemmaConfig(**common, head_dim=16)
    yield "gemma2", t.Gemma2Config(**common, head_dim=16, query_pre_attn_scalar=16, sliding_window=16)
    yield "gemma3", t.Gemma3TextConfig(**{**common, "num_hidden_layers": 6}, head_dim=16, query_pre_attn_scalar=16, sliding_window=16)
    yield "phi", t.PhiConfig(**{**common, "num_key_value_heads": 4}, hidden_act="gelu_new")
    yield "phi3", t.Phi3Config(**common)
    # More text than the original context of 32: transformers takes the long factors, as this program does with --context 128.
    yield "phi3_long", t.Phi3Config(**common, original_max_position_embeddings=32,
                                    rope_scaling=dict(type="longrope", short_factor=[1.0, 1.1, 1.3, 1.5], long_factor=[1.0, 1.4, 2.5, 4.0]))
    yield "olmo2", t.Olmo2Config(**common)
    yield "starcoder2", t.Starcoder2Config(**common, sliding_window=None)
    yield "gpt2", t.GPT2Config(vocab_size=288, n_embd=32, n_layer=2, n_head=4, n_positions=128, bos_token_id=0, eos_token_id=1)
    yield "gpt_neox", t.GPTNeoXConfig(vocab_size=288, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, hidden_act="gelu_new",
                                      max_position_embeddings=128, bos_token_id=0, eos_token_id=1)
    yield "bloom", t.BloomConfig(vocab_size=288, hidden_size=48, n_layer=2, n_head=6, bos_token_id=0, eos_token_id=1)
    falcon = dict(vocab_size=288, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=128, bos_token_id=0, eos_token_id=1,
                  activation="gelu_pytorch_tanh", bias=False)
    yield "falcon", t.FalconConfig(**falcon, multi_query=True)
    yield "falcon_grouped", t.FalconConfig(**falcon, new_decoder_architecture=True, num_kv_heads=2)


def randomize(model, seed):
    """Weights of a size that makes every part of the model show in the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                parameter.copy_((0.0 if "bias" in name or "gemma" in model.config.model_type else 1.0) + 0.2 * noise)
            else:
                parameter.copy_(noise * 1.5 / parameter.shape[-1] ** 0.5)


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


def our_logits(program, folder, ids):
    context = ["--context", "128"] if folder.endswith("_long") else []
    with tempfile.NamedTemporaryFile(suffix=".f32") as out:
        run = subprocess.run([program, "logits", folder, "--tokens", ",".join(map(str, ids)), "--out", out.name, "--activations", "f32", *context],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if run.returncode:
            print(run.stderr.decode())
            return np.full((len(ids), 1), np.nan)
        return np.fromfile(out.name, dtype=np.float32).reshape(len(ids), -1)


def is_linear(name):
    return ".self_attn." in name or ".mlp." in name


def grid(weight, groups, bits):
    """Asymmetric scales (halves) and zero points [N, G] of the groups that `groups` [K] names."""
    count = int(groups.max()) + 1
    scales, zeros = torch.zeros(weight.shape[0], count), torch.zeros(weight.shape[0], count)
    for g in range(count):
        part = weight[:, groups == g]
        low, high = part.min(1).values.clamp(max=0), part.max(1).values.clamp(min=0)
        scales[:, g] = ((high - low) / (2**bits - 1)).half().float()
        zeros[:, g] = torch.round(-low / scales[:, g]).clamp(1, 2**bits - 1)
    return scales, zeros


def gptq(bits, group, act_order, version):
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear

    def pack(linear):
        outputs, inputs = linear.weight.shape
        groups = torch.arange(inputs) // (inputs if group < 0 else group)
        if act_order:
            groups = groups[torch.randperm(inputs, generator=torch.Generator().manual_seed(inputs))]
        scales, zeros = grid(linear.weight.data, groups, bits)
        module = TorchLinear(bits=bits, group_size=group, sym=False, desc_act=act_order, in_features=inputs, out_features=outputs)
        module.pack_original(linear, scales, zeros, groups.to(torch.int32))
        arrays = {"qweight": module.qweight.clone(), "qzeros": module.qzeros.clone(), "scales": module.scales.clone(), "g_idx": module.g_idx.clone()}
        if version == 1:  # as GPTQModel saves it: the whole word less one in every field
            ones = sum(1 << shift for shift in range(0, 32, bits)) if bits != 3 else None
            fields = arrays["qzeros"].numpy().view(np.uint32)
            if ones is None:
                raise ValueError("three bits are packed as version 2 here")
            arrays["qzeros"] = torch.from_numpy((fields - np.uint32(ones)).view(np.int32))
        module.scales.data = module.scales.data.float()
        module.post_init()
        return arrays, module.dequantize_weight().float().T.contiguous()

    config = dict(quant_method="gptq", bits=bits, group_size=group, desc_act=act_order, sym=False, checkpoint_format="gptq" if version == 1 else "gptq_v2")
    return pack, config


def awq(group):
    from awq.modules.linear.gemm import WQLinear_GEMM

    def pack(linear):
        inputs = linear.weight.shape[1]
        scales, zeros = grid(linear.weight.data, torch.arange(inputs) // group, 4)
        wide, offset = scales.repeat_interleave(group, 1), zeros.repeat_interleave(group, 1)
        linear.weight.data = (torch.round(linear.weight.data / wide + offset).clamp(0, 15) - offset) * wide  # AutoAWQ packs values on the grid
        module = WQLinear_GEMM.from_linear(linear, 4, group, scales=scales.T.contiguous(), zeros=zeros.T.contiguous())
        return {"qweight": module.qweight, "qzeros": module.qzeros, "scales": module.scales}, linear.weight.data

    return pack, dict(quant_method="awq", bits=4, group_size=group, zero_point=True, version="gemm")


def bnb4(kind, nested):
    from bitsandbytes import functional

    def pack(linear):
        packed, state = functional.quantize_4bit(linear.weight.data, quant_type=kind, compress_statistics=nested, blocksize=64)
        arrays = {"weight": packed} | {"weight." + key: value for key, value in state.as_dict(packed=True).items()}
        return arrays, functional.dequantize_4bit(packed, state)

    return pack, dict(quant_method="bitsandbytes", load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=nested)


def bnb8():
    from bitsandbytes import functional

    def pack(linear):
        codes, scales, _ = functional.int8_vectorwise_quant(linear.weight.data.half())
        arrays = {"weight": codes, "SCB": scales.float(), "weight_format": torch.tensor(0, dtype=torch.uint8)}
        return arrays, functional.int8_vectorwise_dequant(codes, scales.float()).float()

    return pack, dict(quant_method="bitsandbytes", load_in_8bit=True, llm_int8_threshold=6.0)


def compressed(scheme):
    from compressed_tensors.compressors import pack_fp4_to_uint8, pack_to_int32

    def pack_w4(linear):
        outputs, inputs = linear.weight.shape
        scales = (linear.weight.data.reshape(outputs, -1, 32).abs().amax(2) / 7.5).to(torch.bfloat16)
        wide = scales.float().repeat_interleave(32, 1)
        codes = torch.round(linear.weight.data / wide).clamp(-8, 7)
        arrays = {"weight_packed": pack_to_int32(codes.to(torch.int8), 4), "weight_scale": scales, "weight_shape": torch.tensor([outputs, inputs])}
        return arrays, codes * wide

    def pack_w8(linear):
        scales = (linear.weight.data.abs().amax(1, keepdim=True) / 127.5).to(torch.bfloat16)
        codes = torch.round(linear.weight.data / scales.float()).clamp(-128, 127)
        return {"weight": codes.to(torch.int8), "weight_scale": scales}, codes * scales.float()

    def pack_nvfp4(linear):
        outputs = linear.weight.shape[0]
        parts = linear.weight.data.reshape(outputs, -1, 16)
        divisor = torch.tensor([448 * 6 / linear.weight.data.abs().max().item()])
        scales = (divisor * parts.abs().amax(2) / 6).to(torch.float8_e4m3fn)
        steps = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
        wide = (scales.float() / divisor)[:, :, None]
        scaled = parts / wide
        near = (scaled.abs()[..., None] - steps).abs().argmin(-1)
        values = steps[near] * torch.where(scaled < 0, -1.0, 1.0)
        packed = pack_fp4_to_uint8(values.reshape(outputs, -1).to(torch.bfloat16))
        return {"weight_packed": packed, "weight_scale": scales, "weight_global_scale": divisor}, (values * wide).reshape(outputs, -1)

    weights = {"w4": dict(num_bits=4, type="int", strategy="group", group_size=32, symmetric=True),
               "w8": dict(num_bits=8, type="int", strategy="channel", symmetric=True),
               "nvfp4": dict(num_bits=4, type="float", strategy="tensor_group", group_size=16, symmetric=True)}[scheme]
    form = {"w4": "pack-quantized", "w8": "int-quantized", "nvfp4": "nvfp4-pack-quantized"}[scheme]
    config = dict(quant_method="compressed-tensors", format=form, ignore=["lm_head"], config_groups={"group_0": {"targets": ["Linear"], "weights": weights}})
    return {"w4": pack_w4, "w8": pack_w8, "nvfp4": pack_nvfp4}[scheme], config


def fp8():
    def pack(linear):
        outputs, inputs = linear.weight.shape
        tiles = linear.weight.data.reshape(outputs // 16, 16, inputs // 16, 16)
        scales = tiles.abs().amax((1, 3)) / 448
        wide = scales.repeat_interleave(16, 0).repeat_interleave(16, 1)
        codes = (linear.weight.data / wide).to(torch.float8_e4m3fn)
        return {"weight": codes, "weight_scale_inv": scales}, codes.float() * wide

    return pack, dict(quant_method="fp8", weight_block_size=[16, 16], activation_scheme="dynamic")


def exl2():
    def pack(linear):
        outputs, inputs = linear.weight.shape
        bits = [8, 6, 5, 4, 3, 2][: inputs // 32] if inputs < 192 else [8, 6, 5, 4, 3] + [2] * (inputs // 32 - 5)
        invperm = torch.randperm(inputs, generator=torch.Generator().manual_seed(inputs))
        perm = torch.argsort(invperm)
        words, groups, q_scale, q_max, deq = [], [], [], [], torch.zeros(outputs, inputs)
        for g, b in enumerate(bits):
            rows = perm[32 * g : 32 * g + 32]
            part = linear.weight.data[:, rows]
            wanted = part.abs().amax(1) / (2 ** (b - 1))
            top = (wanted.max() * 256 / 256).half()                                   # scale of code 15
            unit = (top * torch.tensor(1 / 256).half()).half()
            code = torch.ceil((wanted / top.float()).clamp(min=0).sqrt() * 16).clamp(1, 16).int() - 1
            scale = (((code + 1) ** 2).half() * unit).half().float()
            codes = torch.round(part / scale[:, None]).clamp(-(2 ** (b - 1)), 2 ** (b - 1) - 1).int()
            deq[:, rows] = codes * scale[:, None]
            stored = (codes + 2 ** (b - 1)).numpy().astype(object)                     # [N, 32], a bit stream along the inputs
            stream = [sum(int(stored[n, r]) << (r * b) for r in range(32)) for n in range(outputs)]
            groups += [b, len(words)]
            words += [[(stream[n] >> (32 * w)) & 0xFFFFFFFF for n in range(outputs)] for w in range(b)]
            q_scale.append([sum(int(code[8 * c + i]) << (4 * i) for i in range(8)) for c in range(outputs // 8)])
            q_max.append(top)
        as_int32 = lambda values: torch.from_numpy(np.array(values, dtype=np.uint32).view(np.int32))
        arrays = {"q_weight": as_int32(words), "q_scale": as_int32(q_scale), "q_scale_max": torch.stack(q_max),
                  "q_groups": torch.tensor(groups, dtype=torch.int16), "q_invperm": invperm.to(torch.int32)}
        return arrays, deq

    return pack, dict(quant_method="exl2", bits=4.67)


QUANTIZED = {
    "gptq4": lambda: gptq(4, 32, False, 1), "gptq4-actorder": lambda: gptq(4, 32, True, 1), "gptq8": lambda: gptq(8, -1, False, 1),
    "gptq3": lambda: gptq(3, 32, False, 2), "gptq2": lambda: gptq(2, 32, False, 2), "awq": lambda: awq(32), "nf4": lambda: bnb4("nf4", False),
    "nf4-nested": lambda: bnb4("nf4", True), "fp4": lambda: bnb4("fp4", False), "int8": bnb8, "ct-w4a16": lambda: compressed("w4"),
    "ct-w8a8": lambda: compressed("w8"), "ct-nvfp4": lambda: compressed("nvfp4"), "fp8": fp8, "exl2": exl2,
}


def save(folder, made_by, model, tokenizer, ids):
    """The expected logits, of the last four positions in a file."""
    expected = logits_of(model, ids)
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump({"made_by": made_by, "text": " ".join(TEXTS), "tokens": ids, "rows": 4}, file)
    expected[-4:].astype(np.float32).tofile(os.path.join(folder, "expected.f32"))
    return expected


def quantized_checkpoint(folder, make, seed):
    pack, config = make()
    base = transformers.LlamaConfig(vocab_size=288, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
                                    max_position_embeddings=128, bos_token_id=0, eos_token_id=1, pad_token_id=None, tie_word_embeddings=True)
    base._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(base).float().eval()
    randomize(model, seed)
    arrays = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and is_linear(name):
            stored, value = pack(module)
            arrays |= {f"{name}.{key}": array.contiguous() for key, array in stored.items()}
            module.weight.data = value.float()
    for name, parameter in model.named_parameters():
        if not is_linear(name):
            parameter.data = parameter.data.to(torch.bfloat16).float()
            arrays[name] = parameter.data.to(torch.bfloat16)
    save_file(arrays, os.path.join(folder, "model.safetensors"))
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(base.to_dict() | {"model_type": "llama", "quantization_config": config}, file)
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--golden")
    options = parser.parse_args()
    failures = 0
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    with tempfile.TemporaryDirectory() as scratch:
        root = options.golden or scratch
        cases = [(name, config) for name, config in configs()] + [(name, make) for name, make in QUANTIZED.items()]
        for seed, (name, what) in enumerate(cases):
            folder = os.path.join(root, name)
            os.makedirs(folder, exist_ok=True)
            if name in QUANTIZED:
                try:
                    model = quantized_checkpoint(folder, what, seed)
                except ImportError as missing:
                    print(f"{name:15} skipped: {missing}")
                    continue
            else:
                what._attn_implementation = "eager"
                model = transformers.AutoModelForCausalLM.from_config(what).float().eval()
                randomize(model, seed)
                model.to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
                model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
            tokenizer = tokenizer_file(folder)
            ids = [0] + tokenizer.encode(" ".join(TEXTS)).ids
            expected = save(folder, versions + ", F32 on the CPU", model, tokenizer, ids)
            ours = our_logits(options.program, folder, ids)
            worst = float(np.abs(ours - expected).max())
            lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
            encoded = subprocess.run([options.program, "tokenize", folder, "--jsonl", "-"], input=lines.encode(), capture_output=True, check=True).stdout
            same_ids = [json.loads(line)["ids"] for line in encoded.splitlines()] == [tokenizer.encode(text).ids for text in TEXTS]
            agree = worst < 1e-4 and same_ids
            failures += not agree
            if options.golden:  # one tokenizer for all
                for file in ("tokenizer.json", "tokenizer_config.json"):
                    os.replace(os.path.join(folder, file), os.path.join(root, file))
                if os.path.exists(os.path.join(folder, "generation_config.json")):
                    os.remove(os.path.join(folder, "generation_config.json"))
            print(f"{name:15} largest difference {worst:.1e} of logits up to {np.abs(expected).max():.1f}, token ids {'equal' if same_ids else 'DIFFERENT'}  {'ok' if agree else 'DIFFERENT'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
