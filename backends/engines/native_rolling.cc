// Perplexity of a long text by llama-perplexity's convention (contract/request.h), and divergence from reference logits.
#include "backends/engines/native.h"
#include "backends/kernels/elementary.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet {
namespace {

constexpr int kRowsTogether = 512;

}  // namespace

Result<Response> NativeEngine::answer_rolling(const RollingLoglikelihood& request, Clock::time_point start) {
  const int window = request.context_tokens;
  if (window < 4 || window > info_.context_tokens)
    return Error{Code::kTooLarge, fmt::format("a window of {} tokens; the model's context allows 4 to {}", window, info_.context_tokens)};
  std::vector<std::int32_t> tokens = encode(request.text, false);
  const std::size_t count_windows = tokens.size() / static_cast<std::size_t>(window);
  if (count_windows == 0)
    return Error{Code::kBadShape, fmt::format("the text has {} tokens; one window of {} is the least", tokens.size(), window)};
  tokens.resize(count_windows * static_cast<std::size_t>(window));
  const auto bos = tokenizer_->vocabulary().bos;
  if (tokenizer_->adds_bos() && bos)
    for (std::size_t w = 0; w < count_windows; ++w) tokens[w * static_cast<std::size_t>(window)] = *bos;

  const int first = window / 2, rows_per_window = window - 1 - first;
  const std::uint64_t count_rows = count_windows * static_cast<std::uint64_t>(rows_per_window);
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
  std::vector<float> log_probabilities(V), reference(V);
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
      if (auto status = reference_out_->row(log_probabilities); !status) return status;
    if (!reference_in_) return {};
    if (auto status = reference_in_->row(reference); !status) return status;
    Divergence& divergence = *answer.divergence;
    double kl = 0;
    for (std::size_t i = 0; i < V; ++i) {
      const double p = static_cast<double>(elementary::exp(reference[i]));
      if (p > 0) kl += p * (static_cast<double>(reference[i]) - static_cast<double>(log_probabilities[i]));
    }
    divergence.kl_sum += kl;
    divergence.kl_per_token.push_back(static_cast<float>(kl));
    const double reference_nll = -static_cast<double>(reference[static_cast<std::size_t>(target)]);
    divergence.reference_nll_sum += reference_nll;
    divergence.nll_difference_squared_sum += (nll - reference_nll) * (nll - reference_nll);
    divergence.top1_agreement_sum += argmax(reference.data(), static_cast<std::int64_t>(V)) == argmax(logits.data(), static_cast<std::int64_t>(V));
    return {};
  };

  const std::size_t together = static_cast<std::size_t>(std::max(1, kRowsTogether / window));
  for (std::size_t begin = 0; begin < count_windows; begin += together) {
    const std::size_t end = std::min(count_windows, begin + together);
    std::vector<KvSequence> sequences(end - begin, KvSequence(*cache_));
    std::vector<Transformer::Segment> segments;
    for (std::size_t w = begin; w < end; ++w)  // the last token of a window is only predicted
      segments.push_back({&sequences[w - begin],
                          std::span<const std::int32_t>(tokens).subspan(w * static_cast<std::size_t>(window), static_cast<std::size_t>(window) - 1), first});
    const auto status = transformer_->forward(segments, [&](std::size_t s, std::int64_t token, std::span<const float> logits) {
      if (failed) failed = score(logits, tokens[(begin + s) * static_cast<std::size_t>(window) + static_cast<std::size_t>(token) + 1]);
    });
    if (!status) return status.error();
    if (!failed) return failed.error();
    if (progress_) progress_(static_cast<double>(end) / static_cast<double>(count_windows));
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
