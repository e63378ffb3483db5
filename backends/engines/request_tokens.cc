#include "backends/engines/request_tokens.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet {

std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, std::string_view text, bool parse_special) {
  std::vector<std::int32_t> ids = tokenizer.encode(text, false, parse_special);
  const auto bos = tokenizer.vocabulary().bos;
  if (tokenizer.adds_bos() && bos && (ids.empty() || ids.front() != *bos)) ids.insert(ids.begin(), *bos);
  return ids;
}

Result<std::vector<std::int32_t>> tokens_of(const Tokenizer& tokenizer, const Generate& request, int context_max) {
  std::vector<std::int32_t> prompt = prompt_tokens(tokenizer, request.prompt, true);
  if (const auto prefix = tokenizer.prefix_token(); prompt.empty() && prefix) prompt.push_back(*prefix);
  if (prompt.empty())
    return Error{Code::kBadValue, "the prompt is empty and the model has neither a BOS nor an EOS token to stand for it"};
  if (prompt.size() > static_cast<std::size_t>(context_max))
    return Error{Code::kTooLarge, fmt::format("the prompt has {} tokens; the context has room for {}", prompt.size(), context_max)};
  if (!(request.top_p > 0 && request.top_p <= 1))
    return Error{Code::kBadValue, fmt::format("top_p is {}; above 0 and up to 1 are possible", request.top_p)};
  if (request.tokens_max < 0 || !(request.temperature >= 0 && request.temperature <= 1e6f))
    return Error{Code::kBadValue, fmt::format("at most {} tokens at temperature {}: neither may be negative", request.tokens_max, request.temperature)};
  return prompt;
}

Result<std::vector<ScoredContinuation>> tokens_of(const Tokenizer& tokenizer, const Loglikelihood& request, int context_max) {
  if (request.continuations.empty()) return Error{Code::kBadValue, "a log-likelihood request needs at least one continuation"};
  if (!request.contexts.empty() && request.contexts.size() != request.continuations.size())
    return Error{Code::kBadValue, fmt::format("{} contexts for {} continuations", request.contexts.size(), request.continuations.size())};
  const auto longest = static_cast<std::size_t>(context_max);
  std::vector<ScoredContinuation> scored(request.continuations.size());
  std::string context, space;
  std::vector<std::int32_t> context_ids;
  for (std::size_t c = 0; c < scored.size(); ++c) {
    if (c == 0 || !request.contexts.empty()) {
      // White space at the end of the context belongs to the continuation: tokens carry the space in front.
      context = request.contexts.empty() ? request.context : request.contexts[c];
      const std::size_t end = context.find_last_not_of(" \t\n\r\f\v");
      space = context.substr(end == std::string::npos ? 0 : end + 1);
      context.resize(context.size() - space.size());
      context_ids = context.empty() ? std::vector<std::int32_t>() : prompt_tokens(tokenizer, context, true);
    }
    const std::string continuation = space + request.continuations[c];
    std::vector<std::int32_t>& before = scored[c].context = context_ids;
    std::vector<std::int32_t>& targets = scored[c].tokens;
    if (context.empty()) {
      const auto prefix = tokenizer.prefix_token();
      if (!prefix) return Error{Code::kUnsupported, "the context is empty and the model has neither a BOS nor an EOS token to stand for it"};
      before = {*prefix};
      targets = tokenizer.encode(continuation, false, true);
      if (!targets.empty() && targets.front() == *prefix) targets.erase(targets.begin());
    } else {
      targets = prompt_tokens(tokenizer, context + continuation, true);
      targets.erase(targets.begin(), targets.begin() + static_cast<std::ptrdiff_t>(std::min(before.size(), targets.size())));
    }
    if (targets.empty()) continue;
    if (targets.size() > longest)
      return Error{Code::kTooLarge, fmt::format("continuation {} has {} tokens; the context has room for {}", c, targets.size(), longest)};
    // The model reads the last `longest` of context and continuation without its last token.
    if (before.size() + targets.size() - 1 > longest)
      before.erase(before.begin(), before.end() - static_cast<std::ptrdiff_t>(longest + 1 - targets.size()));
  }
  return scored;
}

Result<std::vector<ScoredWindow>> tokens_of(const Tokenizer& tokenizer, const RollingLoglikelihood& request, int context_max, std::vector<std::int32_t>& tokens) {
  const bool every_token = request.windows == RollingLoglikelihood::Windows::kEveryToken;
  const std::int64_t window = every_token ? std::min(request.context_tokens, context_max) : request.context_tokens;
  if (window < 4 || window > context_max)
    return Error{Code::kTooLarge, fmt::format("a window of {} tokens; the model's context allows 4 to {}", window, context_max)};
  std::vector<ScoredWindow> windows;
  if (every_token) {
    const auto prefix = tokenizer.prefix_token();
    if (!prefix) return Error{Code::kUnsupported, "the model has neither a BOS nor an EOS token to begin the text with"};
    tokens = tokenizer.encode(request.text, false, false);
    tokens.insert(tokens.begin(), *prefix);
    const auto count = static_cast<std::int64_t>(tokens.size()) - 1;  // to be predicted
    if (count == 0) return Error{Code::kBadShape, "the text has no tokens"};
    for (std::int64_t predicted = 0; predicted < count;) {
      const std::int64_t more = std::min(window, count - predicted), end = predicted + more;  // tokens[end] is the last one predicted
      const std::int64_t begin = predicted == 0 ? 0 : std::max<std::int64_t>(1, end - window);  // the prefix token stands in the first window only
      windows.push_back({{tokens.begin() + begin, tokens.begin() + end}, end - begin - more, static_cast<std::size_t>(predicted) + 1});
      predicted = end;
    }
    return windows;
  }
  tokens = prompt_tokens(tokenizer, request.text, false);
  const auto size = static_cast<std::size_t>(window);
  const std::size_t count = tokens.size() / size;
  if (count == 0) return Error{Code::kBadShape, fmt::format("the text has {} tokens; one window of {} is the least", tokens.size(), window)};
  tokens.resize(count * size);
  const auto bos = tokenizer.vocabulary().bos;
  for (std::size_t w = 0; w < count; ++w) {
    if (tokenizer.adds_bos() && bos) tokens[w * size] = *bos;
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(w * size);
    windows.push_back({{begin, begin + window - 1}, window / 2, w * size + static_cast<std::size_t>(window / 2) + 1});  // the last token is only predicted
  }
  return windows;
}

}  // namespace quantfleet
