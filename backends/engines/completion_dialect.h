// What inference servers are asked and how their answers are read: one Dialect for each kind of server, pure functions from
// questions to JSON and from JSON to answers. Everything that is read is hostile.
// docs/external-engines.md has a table.  Fuzz: tests/fuzz/fuzz_completion_dialect.cc
#pragma once

#include "contract/error.h"
#include "contract/request.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

struct ServerFacts {
  std::string model;           // as requests must name it
  std::string version;         // of the server, or empty
  int context_tokens = 0;      // 0: it does not say
};

// A prompt as both what it says and what a model must read.
struct CompletionQuestion {
  std::string_view model;
  std::string_view text;
  std::span<const std::int32_t> ids;
  bool add_bos = false;        // the text's ids begin with a BOS that its text does not have
  const Generate* request = nullptr;
};

struct CompletionAnswer {
  std::string text;
  std::vector<std::int32_t> token_ids;   // where the server tells
  std::optional<int> prompt_tokens, generated_tokens;
  GenerateAnswer::Stop stop = GenerateAnswer::Stop::kTokensMax;
};

struct TokenScore {
  double loglikelihood = 0;
  bool is_greedy = false;
};

struct Dialect {
  std::string_view name;
  bool takes_ids = false;      // prompts are sent as ids: the server cannot tokenize them otherwise
  bool counts_prompts = false; // the number of prompt tokens that it reports is of the whole prompt

  std::string_view facts_path;
  Result<ServerFacts> (*read_facts)(std::string_view body, std::string_view wanted_model) = nullptr;

  std::string_view complete_path;
  std::string (*complete)(const CompletionQuestion& question) = nullptr;
  Result<CompletionAnswer> (*read_completion)(std::string_view body) = nullptr;

  // Log-probabilities of a prompt's tokens; null: the server does not return them.
  std::string (*score)(const CompletionQuestion& question) = nullptr;
  Result<std::vector<TokenScore>> (*read_scores)(std::string_view body, std::span<const std::int32_t> ids) = nullptr;  // [ids]; the first is 0

  std::string_view tokenize_path;  // empty: the server does not say how it tokenizes
  std::string (*tokenize)(std::string_view model, std::string_view text) = nullptr;  // special tokens read, nothing added
  Result<std::vector<std::int32_t>> (*read_tokens)(std::string_view body) = nullptr;
};

std::span<const Dialect> all_dialects();
// kUnknownName with the known ones.
Result<const Dialect*> find_dialect(std::string_view name);

// What a server said went wrong: its message where the body has one, else the beginning of the body.
std::string error_text(std::string_view body);

}  // namespace quantfleet
