// Perplexity of a long text by the conventions of contract/request.h, and divergence from reference logits.
#include "backends/engines/native.h"
#include "backends/engines/request_tokens.h"

#include <algorithm>

namespace quantfleet {
namespace {

constexpr int kRowsTogether = 512;

}  // namespace

Result<Response> NativeEngine::answer_rolling(const RollingLoglikelihood& request, Clock::time_point start) {
  const int window = request.context_tokens;
  std::vector<std::int32_t> tokens;
  const auto windows = tokens_of(*tokenizer_, request, info_.context_tokens, tokens);
  if (!windows) return windows.error();
  std::uint64_t count_rows = 0;
  for (const ScoredWindow& one : *windows) count_rows += one.input.size() - static_cast<std::uint64_t>(one.first);
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
      const ScoredWindow& one = (*windows)[begin + s];
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
