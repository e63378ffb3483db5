#!/usr/bin/env python3
"""LoRA adapters against PEFT: random adapters for the tiny models of tests/golden/huggingface, as folders that PEFT saves and as GGUF files
that the gguf package writes, must give the logits that PEFT computes in F32.

    tests/interop/lora.py QUANTFLEET            compares; exit code 0 also where a package is missing (it says which)
    tests/interop/lora.py QUANTFLEET --golden D writes the adapters and their logits below D (tests/golden/lora)
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy as np
    import peft
    import torch
    import transformers
    from safetensors.torch import load_file
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(0)

MODELS = pathlib.Path(__file__).resolve().parent.parent / "golden" / "huggingface"
LLAMA_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapters():
    yield "llama", "llama", dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj"])
    yield "llama_all", "llama", dict(r=2, lora_alpha=4, target_modules=LLAMA_LINEAR + ["embed_tokens", "lm_head"])
    yield "llama_ranks", "llama", dict(r=2, lora_alpha=4, target_modules=LLAMA_LINEAR, use_rslora=True, rank_pattern={"down_proj": 4}, alpha_pattern={"q_proj": 1, "layers.1.mlp.up_proj": 16})
    yield "gemma3", "gemma3", dict(r=2, lora_alpha=4, target_modules=["q_proj", "down_proj", "embed_tokens"])
    yield "qwen3", "qwen3", dict(r=2, lora_alpha=2, target_modules=LLAMA_LINEAR)
    yield "phi3", "phi3", dict(r=2, lora_alpha=4, target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"])
    yield "gpt2", "gpt2", dict(r=2, lora_alpha=4, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)
    yield "gpt_neox", "gpt_neox", dict(r=2, lora_alpha=4, target_modules=["query_key_value", "dense_h_to_4h", "dense_4h_to_h"])
    yield "falcon_grouped", "falcon_grouped", dict(r=2, lora_alpha=4, target_modules=["query_key_value", "dense"])


def complete(base, into):
    """A golden model with the tokenizer that all share."""
    shutil.copytree(MODELS / base, into)
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(MODELS / name, into)


def adapted(folder, options, seed):
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **options)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


def our_logits(program, folder, adapter, ids):
    with tempfile.NamedTemporaryFile(suffix=".f32") as out:
        run = subprocess.run([program, "logits", folder, "--lora", adapter, "--tokens", ",".join(map(str, ids)), "--out", out.name, "--activations", "f32"],
                             capture_output=True, text=True)
        if run.returncode != 0:
            raise SystemExit(f"{folder} with {adapter}: {run.stderr}")
        return np.fromfile(out.name, dtype="<f4").reshape(len(ids), -1)


def write_gguf(adapter, config, path):
    """The adapter of a Llama as llama.cpp's converter writes it: GGUF's names, rows of q and k in adjacent pairs."""
    arrays = load_file(adapter / "adapter_model.safetensors")
    options = json.load(open(adapter / "adapter_config.json"))
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(options["lora_alpha"]))
    for name, array in sorted(arrays.items()):
        parts = name.removeprefix("base_model.model.model.").removesuffix(".weight").split(".")
        array = array.numpy()
        if parts[0] == "embed_tokens":
            tensor, kind = "token_embd", parts[1].removeprefix("lora_embedding_").lower()
            array = array.T if kind == "a" else array
        elif name.startswith("base_model.model.lm_head"):
            tensor, kind = "output", name.split(".")[-2].removeprefix("lora_").lower()
        else:
            tensor, kind = f"blk.{parts[1]}.{names['.'.join(parts[2:4])]}", parts[4].removeprefix("lora_").lower()
            heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}.get(tensor.split(".")[-1])
            if kind == "b" and heads:
                array = array.reshape(heads, 2, array.shape[0] // heads // 2, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(f"{tensor}.weight.lora_{kind}", np.ascontiguousarray(array, dtype=np.float16 if kind == "a" else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--golden", type=pathlib.Path)
    options = parser.parse_args()
    ids = [(37 * i * i + 11 * i + 5) % 288 for i in range(24)]
    failed = False

    def compare(name, base, adapter, expected):
        nonlocal failed
        ours = our_logits(options.program, base, adapter, ids)
        worst, largest = float(np.abs(ours - expected).max()), float(np.abs(expected).max())
        agree = worst <= 2e-5 * max(1.0, largest)
        failed = failed or not agree
        print(f"{name:20} largest difference {worst:.1e} of logits up to {largest:.1f}  {'ok' if agree else 'DIFFERENT'}")

    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        for seed, (name, base, config) in enumerate(adapters(), 1):
            base_folder = temporary / base
            if not base_folder.exists():
                complete(base, base_folder)
            model = adapted(base_folder, config, seed)
            expected = logits_of(model, ids)
            plain = logits_of(model.unload(), ids)
            assert np.abs(expected - plain).max() > 0.1, "the adapter must show"
            model = adapted(base_folder, config, seed)
            folder = temporary / f"adapter_{name}"
            model.save_pretrained(folder, save_embedding_layers=False)
            compare(name, base_folder, folder, expected)
            if name == "llama_all":
                write_gguf(folder, json.load(open(base_folder / "config.json")), temporary / "adapter.gguf")
                # A in F16 in the file: so it must be for PEFT.
                rounded = {key: value.half().float() if "lora_A" in key or "embedding_A" in key else value for key, value in peft.get_peft_model_state_dict(model, save_embedding_layers=False).items()}
                peft.set_peft_model_state_dict(model, rounded)
                expected_gguf = logits_of(model, ids)
                compare(name + ".gguf", base_folder, temporary / "adapter.gguf", expected_gguf)
            if options.golden:
                place = options.golden / name
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
                kept = json.load(open(folder / "adapter_config.json"))
                kept["base_model_name_or_path"] = base
                json.dump(kept, open(place / "adapter_config.json", "w"), indent=1, sort_keys=True)
                shutil.copy(folder / "adapter_model.safetensors", place)
                expected[-2:].astype("<f4").tofile(place / "expected.f32")
                json.dump({"base": base, "ids": ids, "made_by": f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}"}, open(place / "expected.json", "w"))
                if name == "llama_all":
                    shutil.copy(temporary / "adapter.gguf", place / "adapter.gguf")
                    expected_gguf[-2:].astype("<f4").tofile(place / "expected_gguf.f32")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
