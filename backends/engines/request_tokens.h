// Which tokens a model reads for a request, and which of them are scored: the same for our own engine and for one that answers
// over HTTP (contract/request.h has the conventions).
#pragma once

#include "backends/tokenizers/tokenizer.h"
#include "contract/request.h"

#include <cstdint>
#include <vector>

namespace quantfleet {

// The text with BOS before it where the model adds BOS; no second one where the text brings its own.
std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, std::string_view text, bool parse_special);

// The tokens of a prompt to continue.  Errors: kBadValue (no tokens at all, options out of range), kTooLarge (beyond context_max).
Result<std::vector<std::int32_t>> tokens_of(const Tokenizer& tokenizer, const Generate& request, int context_max);

// One continuation behind the context that is read for it, cut on the left where context_max asks for it.
struct ScoredContinuation {
  std::vector<std::int32_t> context, tokens;  // tokens may be empty: nothing to score
};

// Errors: kBadValue (no continuation, as many contexts as ...), kUnsupported (an empty context and no token to stand for it), kTooLarge.
Result<std::vector<ScoredContinuation>> tokens_of(const Tokenizer& tokenizer, const Loglikelihood& request, int context_max);

// A window of a long text.
struct ScoredWindow {
  std::vector<std::int32_t> input;
  std::int64_t first = 0;      // the first position of it that is scored
  std::size_t target = 0;      // the token of the text that this position predicts; the further ones predict the further tokens
};

// `tokens` becomes the text as it is evaluated.  Errors: kTooLarge, kUnsupported, kBadShape.
Result<std::vector<ScoredWindow>> tokens_of(const Tokenizer& tokenizer, const RollingLoglikelihood& request, int context_max, std::vector<std::int32_t>& tokens);

}  // namespace quantfleet
