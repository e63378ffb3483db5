// An inference server on the other end of HTTP as an Engine: llama-server, vLLM, TabbyAPI (ExLlama), Ollama, or whatever speaks the OpenAI
// completions protocol. EngineOptions::model is the model's own file, or another with the same tokenizer: its tokens are what the server is
// asked with, what it is checked against (token_probes.h) and what log-likelihoods are divided by; its weights are not opened.
// Not bit-identical with anything: there is no logits digest. docs/external-engines.md
#pragma once

#include "backends/engines/completion_dialect.h"
#include "backends/engines/engine.h"
#include "backends/engines/http_client.h"
#include "backends/tokenizers/tokenizer.h"

#include <memory>

namespace quantfleet {

class ExternalEngine final : public Engine {
 public:
  // Asks the server for its model. Errors: those of the file, of the server; kUnknownName (dialect, model).
  static Result<std::unique_ptr<ExternalEngine>> open(std::string_view dialect, const EngineOptions& options);

  const EngineInfo& info() const override { return info_; }
  // Several connections at once (ServerOptions::connections).
  void answer(std::span<const Request> requests, const std::function<bool(std::size_t, Result<Response>)>& done) override;
  Result<TimingSample> time(int prompt_tokens, int generated_tokens, std::uint64_t seed) override;
  Result<std::vector<std::int32_t>> tokenize(std::string_view text, TokensAs as) override;
  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  ExternalEngine() = default;
  Result<std::string> ask(std::string_view path, std::string body) const;  // the body of an answer with status 200
  Result<Response> answer_one(const Request& request) const;
  Result<Response> generate(const Generate& request) const;
  Result<Response> score(const Loglikelihood& request) const;
  Result<Response> roll(const RollingLoglikelihood& request) const;
  // log p of ids[begin ..], each behind those before it.
  Result<std::vector<TokenScore>> scores(std::span<const std::int32_t> ids, std::size_t begin) const;

  EngineInfo info_;
  const Dialect* dialect_ = nullptr;
  HttpUrl url_;
  ServerOptions server_;
  std::string model_;        // as the server names it
  std::shared_ptr<const Tokenizer> tokenizer_;
};

}  // namespace quantfleet
