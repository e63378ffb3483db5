// Adapters for a base model: a GGUF adapter file, or a PEFT folder (adapter_config.json, adapter_model.safetensors) read as the
// adapter that a conversion for this base would give: GGUF's names, and B's rows in the order of the base's.
#pragma once

#include "backends/formats/lora.h"

#include <filesystem>
#include <span>
#include <string_view>

namespace quantfleet {

// base: the model that the adapter is for; it says the architecture, and with it names and orders of rows.
// Errors: those of read_lora_adapter and of the files; kUnsupported for what PEFT can do besides plain LoRA (DoRA, trained biases, whole
// trained modules), and for a module that the base's architecture lacks; kBadShape where a rank is not the configured one.
Result<LoraAdapter> open_lora_adapter(const std::filesystem::path& path, const GgufFile& base);

namespace huggingface {

// The same from contents. place: the folder.
Result<LoraAdapter> read_peft_adapter(std::string_view adapter_config, std::span<const std::byte> safetensors, const std::filesystem::path& place,
                                      const GgufFile& base);

}  // namespace huggingface

// A GGUF adapter file of an adapter, the same bytes for the same adapter: what travels to agents. F32.
// Errors: kUnsupported where the scales of its updates are not alpha / rank for one alpha.
Status write_lora_adapter(const LoraAdapter& adapter, const std::filesystem::path& path);

}  // namespace quantfleet
