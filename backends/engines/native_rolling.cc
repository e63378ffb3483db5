// Perplexity of a long text by the conventions of contract/request.h, and divergence from reference logits.
#include "backends/engines/native.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet {
namespace {

constexpr int kRowsTogether = 512;

}  // namespace

struct NativeEngine::Window {
  std::vector<std::int32_t> input;
  std::int64_t first;        // the first row of it that is scored
  std::size_t target;        // the token that this row predicts; the further rows predict the further tokens
};

Result<std::vector<NativeEngine::Window>> NativeEngine::windows_of(const RollingLoglikelihood& request, std::vector<std::int32_t>& tokens) const {
  const std::int64_t window = request.windows == RollingLoglikelihood::Windows::kEveryToken ? std::min<std::int64_t>(request.context_tokens, info_.context_tokens)
                                                                                          : request.context_tokens;
  if (window < 4 || window > info_.context_tokens)
    return Error{Code::kTooLarge, fmt::format("a window of {} tokens; the model's context allows 4 to {}", window, info_.context_tokens)};
  std::vector<Window> windows;
  if (request.windows == RollingLoglikelihood::Windows::kEveryToken) {
    const auto prefix = tokenizer_->prefix_token();
    if (!prefix) return Error{Code::kUnsupported, "the model has neither a BOS nor an EOS token to begin the text with"};
    tokens = tokenizer_->encode(request.text, false, false);
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
  tokens = encode(request.text, false);
  const auto size = static_cast<std::size_t>(window);
  const std::size_t count = tokens.size() / size;
  if (count == 0) return Error{Code::kBadShape, fmt::format("the text has {} tokens; one window of {} is the least", tokens.size(), window)};
  tokens.resize(count * size);
  const auto bos = tokenizer_->vocabulary().bos;
  for (std::size_t w = 0; w < count; ++w) {
    if (tokenizer_->adds_bos() && bos) tokens[w * size] = *bos;
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(w * size);
    windows.push_back({{begin, begin + window - 1}, window / 2, w * size + static_cast<std::size_t>(window / 2) + 1});  // the last token is only predicted
  }
  return windows;
}

Result<Response> NativeEngine::answer_rolling(const RollingLoglikelihood& request, Clock::time_point start) {
  const int window = request.context_tokens;
  std::vector<std::int32_t> tokens;
  const auto windows = windows_of(request, tokens);
  if (!windows) return windows.error();
  std::uint64_t count_rows = 0;
  for (const Window& one : *windows) count_rows += one.input.size() - static_cast<std::uint64_t>(one.first);
  const std::string key = rolling_key(window, tokens);
  if (reference_in_)
    if (auto status = reference_in_->seek(key, count_rows); !status) return status.error();
  if (reference_out_)
    if (auto status = reference_out_->begin(key, window, tokens, count_rows); !status) return status.error();

  const KernelFamily& kernels = *transformer_->model().family;
  const auto V = static_cast<std::size_t>(info_.vocabulary_tokens);
  RollingLoglikelihoodAnswer answer;
  if (reference_in_) {
    answer.divergence.emplace();
    answer.divergence->kl_per_token.reserve(count_rows);
  }
  LogitsDigest digest;
  std::vector<float> log_probabilities(V);
  Status failed;
  double first_token_ms = 0;
  const auto elapsed_ms = [&] { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); };

  const auto score = [&](std::span<const float> logits, std::int32_t target) -> Status {
    if (answer.count_tokens == 0) first_token_ms = elapsed_ms();
    digest.add(logits);
    log_softmax(kernels, logits.data(), static_cast<std::int64_t>(V), log_probabilities.data());
    const double nll = -static_cast<double>(log_probabilities[static_cast<std::size_t>(target)]);
    answer.nll_sum += nll;
    answer.nll_squared_sum += nll * nll;
    ++answer.count_tokens;
    if (reference_out_)
      if (auto status = reference_out_->row(log_probabilities, target); !status) return status;
    if (!reference_in_) return {};
    const auto row = reference_in_->compare(log_probabilities, target);
    if (!row) return row.error();
    Divergence& divergence = *answer.divergence;
    divergence.kl_sum += row->kl;
    divergence.kl_lower_sum += row->kl_lower;
    divergence.kl_variance_sum += row->kl_variance;
    divergence.kl_per_token.push_back(static_cast<float>(row->kl));
    divergence.reference_nll_sum += row->reference_nll;
    divergence.nll_difference_squared_sum += (nll - row->reference_nll) * (nll - row->reference_nll);
    divergence.delta_p_sum += row->delta_p;
    divergence.delta_p_squared_sum += row->delta_p * row->delta_p;
    divergence.top1_agreement_sum += row->same_top;
    return {};
  };

  const std::size_t together = static_cast<std::size_t>(std::max(1, kRowsTogether / window));
  for (std::size_t begin = 0; begin < windows->size(); begin += together) {
    const std::size_t end = std::min(windows->size(), begin + together);
    std::vector<KvSequence> sequences(end - begin, KvSequence(*cache_));
    std::vector<Transformer::Segment> segments;
    for (std::size_t w = begin; w < end; ++w) segments.push_back({&sequences[w - begin], (*windows)[w].input, (*windows)[w].first});
    const auto status = transformer_->forward(segments, [&](std::size_t s, std::int64_t token, std::span<const float> logits) {
      const Window& one = (*windows)[begin + s];
      if (failed) failed = score(logits, tokens[one.target + static_cast<std::size_t>(token - one.first)]);
    });
    if (!status) return status.error();
    if (!failed) return failed.error();
    if (progress_) progress_(static_cast<double>(end) / static_cast<double>(windows->size()));
  }
  if (reference_out_)
    if (auto status = reference_out_->finish(); !status) return status.error();

  Response response;
  response.prompt_tokens = static_cast<int>(tokens.size());
  response.first_token_ms = first_token_ms;
  response.logits_digest = digest.hex32();
  response.answer = std::move(answer);
  response.total_ms = elapsed_ms();
  return response;
}

}  // namespace quantfleet
