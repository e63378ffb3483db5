// What a suite asks of an engine, and what the engine answers. Text in, numbers or text out: the engine never knows the
// right answer, the suite never knows a weight. Natural logarithms throughout.
// Three kinds suffice (EleutherAI lm-evaluation-harness, api/model.py); ../docs/protocol.md has an example of each.
#pragma once

#include "contract/error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace quantfleet {

// log p(continuation | context) for several continuations of one context: a multiple-choice item is one request, so that
// the engine evaluates the context once. Token boundaries: trailing spaces of the context move to the continuation; the
// continuation's tokens are those of encode(context + continuation) behind as many tokens as encode(context) has.
struct Loglikelihood {
  std::string context;                     // may be empty: the model's BOS (else EOS) stands in
  std::vector<std::string> continuations;  // at least one
  std::vector<std::string> contexts = {};  // one for each continuation, where they differ (WinoGrande); else empty
};

// Sum of log p(token | tokens before it) over a whole text, in windows of context_tokens.
//   kSecondHalf  llama-perplexity: disjoint windows, the first token of each replaced by BOS where the model adds BOS, the second
//                half scored, what is left over dropped
//   kEveryToken  lm-evaluation-harness: every token is scored once; the first window begins with BOS (else EOS), each further one
//                with the last token before it, the last one reaches back to be full
struct RollingLoglikelihood {
  enum class Windows { kSecondHalf, kEveryToken };
  std::string text;
  int context_tokens = 512;
  Windows windows = Windows::kSecondHalf;
};

struct Generate {
  std::string prompt;
  std::vector<std::string> stop;  // generation ends before the first occurrence of any; end-of-text always stops
  int tokens_max = 256;
  float temperature = 0;          // 0: greedy, ties to the lowest id
  std::uint64_t seed = 0;
  float top_p = 1;                // draw from the fewest most likely tokens that hold this share together (Holtzman et al. 2020)
};

using Request = std::variant<Loglikelihood, RollingLoglikelihood, Generate>;

struct ContinuationScore {
  double loglikelihood = 0;  // sum over the continuation's tokens
  bool is_greedy = false;    // every token was the most likely one
  int count_tokens = 0;
  std::vector<std::int32_t> token_ids = {};  // the continuation's tokens
};

struct LoglikelihoodAnswer {
  std::vector<ContinuationScore> continuations;  // in the request's order
};

// How far a model's next-token distribution is from a reference model's on the same tokens.
struct Divergence {
  double kl_sum = 0;                        // sum over scored tokens of KL(reference || model), nats
  double kl_lower_sum = 0;                  // never above the exact sum; equal to kl_sum where whole rows were stored
  double kl_variance_sum = 0;               // of kl_sum as an estimate from rows in brief; 0 where whole rows were stored
  double top1_agreement_sum = 0;            // scored tokens whose most likely token is the reference's
  double reference_nll_sum = 0;             // negative log-likelihood under the reference
  double nll_difference_squared_sum = 0;    // of (negative log-likelihood minus the reference's), for the ratio's error
  double delta_p_sum = 0, delta_p_squared_sum = 0;  // probability of the right token: the model's minus the reference's
  std::vector<float> kl_per_token;          // for percentiles
};

struct RollingLoglikelihoodAnswer {
  double nll_sum = 0;         // negative log-likelihood summed over scored tokens
  double nll_squared_sum = 0; // for the standard error
  int count_tokens = 0;       // scored tokens
  std::optional<Divergence> divergence;  // where the engine was opened with reference logits
};

struct GenerateAnswer {
  std::string text;  // without the stop string
  std::vector<std::int32_t> token_ids;
  enum class Stop { kStopString, kEndOfText, kTokensMax } stop = Stop::kTokensMax;
};

using Answer = std::variant<LoglikelihoodAnswer, RollingLoglikelihoodAnswer, GenerateAnswer>;

struct Response {
  Answer answer;                     // the alternative that belongs to the request
  std::vector<std::int32_t> prompt_token_ids;  // of the prompt or (first) context; empty for rolling requests
  int prompt_tokens = 0;             // tokens read, shared prefixes counted once per request
  int generated_tokens = 0;
  double first_token_ms = 0;         // from the call to the first token or score of this request
  double total_ms = 0;
  std::vector<float> inter_token_ms; // gaps between generated tokens
  std::string logits_digest;         // SHA-256 over the scored logits rows, f32 little-endian, first 32 hex digits
};

}  // namespace quantfleet
