// A Hugging Face directory (config.json, safetensors in one file or shards, tokenizer.json), presented as the GGUF file that a
// conversion would give: the same keys, tensor names, row orders and values. Arrays that need no change are views into the
// mapped files; others are made row by row when asked for. Quantized checkpoints decode to F32, the float32 product of code
// and scale (docs/formats/huggingface.md).
#pragma once

#include "backends/formats/gguf.h"

#include <filesystem>
#include <memory>

namespace quantfleet {

// A GGUF file, a folder that holds exactly one (or one split model), a Hugging Face directory, or an archive of one (model_folder.h).
// Errors: those of GgufFile::open; for directories the file and the key or array with what was expected; kUnknownArchitecture.
Result<std::shared_ptr<const GgufFile>> open_model_file(const std::filesystem::path& path);

namespace huggingface {

Result<std::shared_ptr<const GgufFile>> open_checkpoint(const std::filesystem::path& path);

}  // namespace huggingface
}  // namespace quantfleet
