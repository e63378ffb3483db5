// tokenizer.json, tokenizer_config.json and generation_config.json as the keys tokenizer.ggml.* of a GGUF file.
#pragma once

#include "backends/huggingface/architecture.h"


namespace quantfleet::huggingface {

// Byte-level BPE whose pre-tokenizer is one of those this program has, and SentencePiece-like BPE with byte fallback.
// count_tokens: rows of the embedding; missing ids become unused tokens.
// Errors: kUnsupported for unigram, WordPiece and unknown pre-tokenizers; kBadValue, kBadShape with the place.
Status read_tokenizer(const ModelFolder& folder, const Json& config, std::int64_t count_tokens, Metadata& metadata);

// The expression by which GGUF's pre-tokenizer `pre` splits, as published files spell it; empty: not one expression.
std::string_view split_expression(std::string_view pre);

// The inverse: tokenizer.json and tokenizer_config.json of a model's keys tokenizer.ggml.*, for the pre-tokenizers that
// read_tokenizer knows.  Errors: kUnsupported with the name of what tokenizer.json, as written here, cannot say.
struct TokenizerFiles {
  Json tokenizer, config;
};
Result<TokenizerFiles> make_tokenizer(const GgufFile& model);

}  // namespace quantfleet::huggingface
