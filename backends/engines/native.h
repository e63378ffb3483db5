// Our own transformer behind the Engine interface. Requests of one call are evaluated together, what they have in common
// once; no answer depends on what it was evaluated with (docs/numerics.md), so all of this is only speed.
//   loglikelihood, generate   one prefix tree over all requests, evaluated in full batches (native_evaluation.h)
//   rolling                   windows in batches
// One thread calls; the engine's own pool helps.
#pragma once

#include "backends/engines/engine.h"
#include "backends/engines/reference_logits.h"
#include "backends/models/transformer.h"
#include "backends/tokenizers/tokenizer.h"

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

class NativeEngine final : public Engine {
 public:
  static Result<std::unique_ptr<NativeEngine>> open(const EngineOptions& options);
  ~NativeEngine() override;

  const EngineInfo& info() const override { return info_; }
  void answer(std::span<const Request> requests, const std::function<bool(std::size_t, Result<Response>)>& done) override;
  // The context's length is not enforced here: speed beyond it is still speed.
  Result<TimingSample> time(int prompt_tokens, int generated_tokens, std::uint64_t seed) override;
  Result<std::vector<std::int32_t>> tokenize(std::string_view text, TokensAs as) override;

  // The same with `batch` texts side by side; tokens count over all of them.
  Result<TimingSample> time_batch(int prompt_tokens, int generated_tokens, int batch, std::uint64_t seed);
  // Logits behind each of exactly these tokens, in order; the context's length is not enforced.
  Status logits(std::span<const std::int32_t> tokens, const std::function<void(std::span<const float>)>& row);
  // The same, the first `prompt` tokens together and the others one by one; `row` gets each token's index, too.
  Status logits_of_prompt_and_steps(std::span<const std::int32_t> tokens, std::size_t prompt,
                                    const std::function<void(std::int64_t token, std::span<const float>)>& row);
  // One request with its text as it grows (whole code points; what may still become a stop string waits).
  Result<Response> generate(const Generate& request, const std::function<void(std::string_view)>& text);
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  // Called while a rolling request runs, with the share that is done (0 to 1).
  void on_progress(std::function<void(double)> progress) { progress_ = std::move(progress); }
  const Model& model() const { return transformer_->model(); }
  std::int64_t kv_cache_bytes() const { return cache_->size_bytes(); }
  std::int64_t tokens_read() const { return tokens_read_; }  // evaluated for requests, by now
  // Lets go of what the latest call left for the next one to share.
  void forget();

 private:
  using Clock = std::chrono::steady_clock;
  class Delivery;
  class Evaluation;

  NativeEngine() = default;
  Result<Response> answer_rolling(const RollingLoglikelihood& request, Clock::time_point start);

  EngineInfo info_;
  std::unique_ptr<ThreadPool> pool_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<KvCache> cache_;
  std::int64_t tokens_read_ = 0;
  std::int64_t pages_max_ = 0;              // of the KV cache, for requests
  std::unique_ptr<KvSequence> kept_;        // the latest text, for whoever shares its beginning
  std::vector<std::int32_t> kept_tokens_;
  std::unique_ptr<ReferenceLogitsWriter> reference_out_;
  std::unique_ptr<ReferenceLogits> reference_in_;
  std::function<void(double)> progress_;
};

// Collects logits rows into the digest of a Response.
class LogitsDigest {
 public:
  LogitsDigest();
  ~LogitsDigest();
  LogitsDigest(LogitsDigest&& other) noexcept;
  LogitsDigest& operator=(LogitsDigest&&) = delete;
  void add(std::span<const float> logits);
  void add(std::span<const unsigned char> bytes);
  std::string hex32();  // the first 32 hexadecimal digits; once

 private:
  void* context_;
};

}  // namespace quantfleet
