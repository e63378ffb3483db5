// An inference server for tests that speaks each dialect of backends/engines/completion_dialect.h as its documentation says, over a
// native engine: what comes back through HTTP must be what the engine says itself.
#pragma once

#include "backends/engines/native.h"
#include "backends/engines/request_tokens.h"
#include "backends/kernels/kernels.h"
#include "tests/fake_http_server.h"

#include <nlohmann/json.hpp>

#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace quantfleet::test {

class FakeInferenceServer {
 public:
  using Json = nlohmann::json;

  FakeInferenceServer(std::string dialect, NativeEngine& engine)
      : dialect_(std::move(dialect)), engine_(engine), server_([this](const std::string& path, const std::string& body) { return answer(path, body); }) {}

  std::string url() const { return server_.url(); }

  struct Behaviour {
    // Misbehaviour: an answer in place of the right one.
    std::function<std::optional<FakeReply>(const std::string& path, const Json& asked)> instead;
    int extra_prompt_tokens = 0;              // as a server that adds BOS once more would report
    std::vector<std::string> models = {"the-model"};
    int context_tokens = 128;
  };
  void behave(Behaviour behaviour) {
    const std::lock_guard lock(mutex_);
    behaviour_ = std::move(behaviour);
  }
  std::vector<Json> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  FakeReply answer(const std::string& path, const std::string& body) {
    const std::lock_guard lock(mutex_);
    const Json json = body.empty() ? Json() : Json::parse(body);
    if (!body.empty()) asked_.push_back(json);
    if (behaviour_.instead)
      if (auto reply = behaviour_.instead(path, json)) return *reply;
    if (path == "/v1/models" && (dialect_ == "vllm" || dialect_ == "openai")) {
      Json data = Json::array();
      for (const std::string& model : behaviour_.models) data.push_back({{"id", model}, {"object", "model"}, {"max_model_len", behaviour_.context_tokens}});
      return {Json{{"object", "list"}, {"data", data}}.dump()};
    }
    if (path == "/props" && dialect_ == "llama-server")
      return {Json{{"default_generation_settings", {{"n_ctx", behaviour_.context_tokens}}}, {"model_path", "the-model"}, {"build_info", "b1-abc"}}.dump()};
    if (path == "/v1/model" && dialect_ == "tabbyapi") return {Json{{"id", "the-model"}, {"object", "model"}, {"parameters", {{"max_seq_len", behaviour_.context_tokens}}}}.dump()};
    if (path == "/api/tags" && dialect_ == "ollama") return {R"({"models":[{"name":"the-model:latest","size":1}]})"};
    if (path == "/tokenize" && dialect_ == "llama-server") return tokens(json.at("content"), json.at("parse_special"));
    if (path == "/tokenize" && dialect_ == "vllm") return tokens(json.at("prompt"), true);
    if (path == "/v1/token/encode" && dialect_ == "tabbyapi") return tokens(json.at("text"), json.at("encode_special_tokens"));
    if (path == "/completion" && dialect_ == "llama-server") return complete_llama(json);
    if (path == "/api/generate" && dialect_ == "ollama") return complete_ollama(json);
    if (path == "/v1/completions" && (dialect_ == "vllm" || dialect_ == "openai" || dialect_ == "tabbyapi")) return complete_openai(json);
    return {R"({"error":{"message":"no such path","code":404}})", 404};
  }

  FakeReply tokens(const std::string& text, bool special) {
    const auto ids = engine_.tokenizer().encode(text, false, special);
    return {Json{{"tokens", ids}, {"count", ids.size()}, {"length", ids.size()}}.dump()};
  }

  std::vector<std::int32_t> ids_of(const Json& prompt, bool add_bos) {
    if (prompt.is_array()) return prompt.get<std::vector<std::int32_t>>();
    auto ids = engine_.tokenizer().encode(prompt.get<std::string>(), false, true);
    if (add_bos) ids.insert(ids.begin(), *engine_.tokenizer().vocabulary().bos);
    return ids;
  }

  GenerateAnswer generate(const std::vector<std::int32_t>& ids, int tokens_max, const Json& stop) {
    GenerateAnswer made;
    std::vector<std::int32_t> all = ids;
    while (static_cast<int>(made.token_ids.size()) < tokens_max) {
      std::int32_t next = 0;
      std::size_t row = 0;
      const Status computed = engine_.logits(all, [&](std::span<const float> logits) {
        if (++row == all.size()) next = static_cast<std::int32_t>(argmax(logits.data(), static_cast<std::int64_t>(logits.size())));
      });
      if (!computed) return {"error: " + computed.error().detail, {}, GenerateAnswer::Stop::kTokensMax};
      if (engine_.tokenizer().is_end_of_text(next)) {
        made.stop = GenerateAnswer::Stop::kEndOfText;
        break;
      }
      made.token_ids.push_back(next);
      all.push_back(next);
      made.text = engine_.tokenizer().decode(made.token_ids, false);
      if (!stop.is_array()) continue;
      for (const Json& one : stop)
        if (const std::size_t at = made.text.find(one.get<std::string>()); at != std::string::npos) {
          made.text.resize(at);
          made.stop = GenerateAnswer::Stop::kStopString;
          return made;
        }
    }
    return made;
  }

  static std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }
  Json stop_of(const Json& asked) { return asked.contains("stop") ? asked["stop"] : Json(); }

  FakeReply complete_llama(const Json& asked) {
    const auto ids = ids_of(asked.at("prompt"), false);
    const GenerateAnswer made = generate(ids, asked.at("n_predict"), stop_of(asked));
    const char* why = made.stop == GenerateAnswer::Stop::kEndOfText ? "eos" : made.stop == GenerateAnswer::Stop::kStopString ? "word" : "limit";
    return {dump({{"content", made.text}, {"tokens", made.token_ids}, {"stop", true}, {"stop_type", why}, {"tokens_evaluated", ids.size() + static_cast<std::size_t>(behaviour_.extra_prompt_tokens)},
                  {"tokens_predicted", made.token_ids.size()}, {"model", "the-model"}})};
  }

  FakeReply complete_ollama(const Json& asked) {
    const auto ids = ids_of(asked.at("prompt"), engine_.tokenizer().adds_bos());
    if (asked.at("raw") != true) return {R"({"error":"the prompt would be wrapped into a template"})", 400};
    const GenerateAnswer made = generate(ids, asked.at("options").at("num_predict"), stop_of(asked.at("options")));
    return {dump({{"model", "the-model:latest"}, {"response", made.text}, {"done", true}, {"done_reason", made.stop == GenerateAnswer::Stop::kTokensMax ? "length" : "stop"},
                  {"prompt_eval_count", ids.size() + static_cast<std::size_t>(behaviour_.extra_prompt_tokens)}, {"eval_count", made.token_ids.size()}})};
  }

  FakeReply complete_openai(const Json& asked) {
    const bool vllm = dialect_ == "vllm";
    const auto ids = ids_of(asked.at("prompt"), asked.value("add_bos_token", false));
    const GenerateAnswer made = generate(ids, asked.at("max_tokens"), stop_of(asked));
    Json choice = {{"index", 0}, {"text", made.text}, {"finish_reason", made.stop == GenerateAnswer::Stop::kTokensMax ? "length" : "stop"}, {"logprobs", nullptr}};
    if (vllm) {
      choice["stop_reason"] = made.stop == GenerateAnswer::Stop::kStopString ? asked.at("stop").at(0) : Json();
      if (asked.value("return_token_ids", false)) choice["token_ids"] = made.token_ids;
    }
    // Log-probabilities of the prompt: vLLM by id, the others as an echo.
    Json by_id = Json::array({nullptr}), values = Json::array({nullptr}), top = Json::array({nullptr}), texts = Json::array({""});
    if (asked.contains("prompt_logprobs") || asked.value("echo", false)) {
      std::size_t row = 0;
      const Status computed = engine_.logits(ids, [&](std::span<const float> logits) {
        if (++row == ids.size()) return;
        std::vector<float> logprobs(logits.size());
        log_softmax(*engine_.model().family, logits.data(), static_cast<std::int64_t>(logits.size()), logprobs.data());
        const auto best = argmax(logits.data(), static_cast<std::int64_t>(logits.size()));
        const auto own = static_cast<std::size_t>(ids[row]);
        const auto entry = [&](std::size_t id, int rank) { return Json{{"logprob", logprobs[id]}, {"rank", rank}, {"decoded_token", "t" + std::to_string(id)}}; };
        Json position = {{std::to_string(best), entry(static_cast<std::size_t>(best), 1)}};
        if (own != static_cast<std::size_t>(best)) position[std::to_string(own)] = entry(own, 2);
        by_id.push_back(position);
        values.push_back(logprobs[own]);
        top.push_back({{"t" + std::to_string(best), logprobs[static_cast<std::size_t>(best)]}});
        texts.push_back("t" + std::to_string(own));
      });
      if (!computed) return {dump({{"error", computed.error().detail}}), 500};
      if (vllm) {
        choice["prompt_logprobs"] = by_id;
      } else {
        values.push_back(-0.5), top.push_back({{"t", -0.5}}), texts.push_back("t");  // the one generated token
        choice["logprobs"] = {{"tokens", texts}, {"token_logprobs", values}, {"top_logprobs", top}};
      }
    }
    return {dump({{"id", "cmpl-1"}, {"object", "text_completion"}, {"model", "the-model"}, {"choices", {choice}},
                  {"usage", {{"prompt_tokens", ids.size() + static_cast<std::size_t>(behaviour_.extra_prompt_tokens)}, {"completion_tokens", made.token_ids.size()}}}})};
  }

  const std::string dialect_;
  NativeEngine& engine_;
  std::mutex mutex_;                    // guards everything below, and the engine
  Behaviour behaviour_;
  std::vector<Json> asked_;
  FakeHttpServer server_;               // last: its threads use the others
};

}  // namespace quantfleet::test
