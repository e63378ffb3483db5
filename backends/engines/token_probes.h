// Token conformance: before an engine computes anything it must turn a fixed set of texts into the ids of the model's own tokenizer. The
// set is made from the model's file where a run is prepared, and travels with the run as a file of its own.
// Format: docs/external-engines.md.  Fuzz: tests/fuzz/fuzz_token_probes.cc
#pragma once

#include "backends/engines/engine.h"
#include "backends/tokenizers/tokenizer.h"

#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

struct TokenProbe {
  std::string text;                // UTF-8
  TokensAs as = TokensAs::kText;
  std::vector<std::int32_t> ids;

  bool operator==(const TokenProbe&) const = default;
};

// The texts: spaces of every kind, digits, scripts, emoji, code, and the model's special tokens, as text and as prompts that bring a BOS.
std::vector<TokenProbe> make_token_probes(const Tokenizer& tokenizer);

std::string encode_token_probes(std::span<const TokenProbe> probes);                          // JSON
Result<std::vector<TokenProbe>> decode_token_probes(std::string_view bytes, std::string_view place);
Result<std::vector<TokenProbe>> read_token_probes(const std::filesystem::path& path);

// Errors: kBadValue with the text, the ids expected and the ones got; kUnsupported where the engine does not say how it tokenizes.
Status check_token_probes(Engine& engine, std::span<const TokenProbe> probes);

}  // namespace quantfleet
