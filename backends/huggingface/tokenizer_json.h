// tokenizer.json, tokenizer_config.json and generation_config.json as the keys tokenizer.ggml.* of a GGUF file.
#pragma once

#include "backends/huggingface/architecture.h"

#include <filesystem>

namespace quantfleet::huggingface {

// Byte-level BPE whose pre-tokenizer is one of those this program has, and SentencePiece-like BPE with byte fallback.
// count_tokens: rows of the embedding; missing ids become unused tokens.
// Errors: kUnsupported for unigram, WordPiece and unknown pre-tokenizers; kBadValue, kBadShape with the place.
Status read_tokenizer(const std::filesystem::path& directory, const Json& config, std::int64_t count_tokens, Metadata& metadata);

}  // namespace quantfleet::huggingface
