#include "backends/engines/completion_dialect.h"

#include "backends/huggingface/json_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace quantfleet {
namespace {

using Json = nlohmann::json;

Error bad(std::string sentence) { return {Code::kBadValue, std::move(sentence)}; }

// Texts come from items and need not be UTF-8.
std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Status read_object(std::string_view body, Json& json) { return huggingface::parse_json(body, "the answer", json); }

const Json* member(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Result<std::string> text_at(const Json& object, std::string_view key) {
  const Json* value = member(object, key);
  if (!value || !value->is_string()) return bad(fmt::format("the answer has no text under '{}'", key));
  return value->get<std::string>();
}

std::optional<int> count_at(const Json* object, std::string_view key) {
  const Json* value = object ? member(*object, key) : nullptr;
  if (!value || !value->is_number_integer()) return std::nullopt;
  const auto count = value->get<std::int64_t>();
  return count < 0 || count > 1 << 30 ? std::nullopt : std::optional<int>(static_cast<int>(count));
}

Result<std::vector<std::int32_t>> ids_at(const Json& object, std::string_view key) {
  const Json* list = member(object, key);
  if (!list || !list->is_array()) return bad(fmt::format("the answer has no list of token ids under '{}'", key));
  std::vector<std::int32_t> ids;
  for (const Json& id : *list) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() > 1 << 30)
      return bad(fmt::format("'{}' has {:.40} where a token id is expected", key, dump(id)));
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

Result<double> logprob_of(const Json& value) {
  if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() > 1e-3) return bad(fmt::format("{:.40} is not a log-probability", dump(value)));
  return std::min(0.0, value.get<double>());
}

const Json* first_choice(const Json& answer) {
  const Json* choices = member(answer, "choices");
  return choices && choices->is_array() && !choices->empty() && (*choices)[0].is_object() ? &(*choices)[0] : nullptr;
}

// ---- the OpenAI completions protocol: vLLM, TabbyAPI and others --------------------------------------------------------------

Json openai_question(const CompletionQuestion& question, bool as_ids) {
  Json json = {{"model", question.model}, {"stream", false}};
  if (as_ids) json["prompt"] = question.ids;
  else json["prompt"] = question.text;
  if (!question.request) return json;
  json["max_tokens"] = question.request->tokens_max;
  json["temperature"] = question.request->temperature;
  json["top_p"] = question.request->top_p;
  json["seed"] = question.request->seed & 0x7fffffff;
  if (!question.request->stop.empty()) json["stop"] = question.request->stop;
  return json;
}

Result<CompletionAnswer> read_openai_completion(std::string_view body) {
  Json answer;
  if (const Status parsed = read_object(body, answer); !parsed) return parsed.error();
  const Json* choice = first_choice(answer);
  if (!choice) return bad("the answer has no choices");
  auto text = text_at(*choice, "text");
  if (!text) return text.error();
  CompletionAnswer read;
  read.text = std::move(*text);
  const std::string reason = huggingface::text_of(*choice, "finish_reason");
  // Without a word of which string stopped it, the end of the text did.
  if (reason != "length") read.stop = member(*choice, "stop_reason") && (*choice)["stop_reason"].is_string() ? GenerateAnswer::Stop::kStopString : GenerateAnswer::Stop::kEndOfText;
  if (member(*choice, "token_ids")) {
    auto ids = ids_at(*choice, "token_ids");
    if (!ids) return ids.error();
    read.token_ids = std::move(*ids);
  }
  const Json* usage = member(answer, "usage");
  read.prompt_tokens = count_at(usage, "prompt_tokens");
  read.generated_tokens = count_at(usage, "completion_tokens");
  return read;
}

// {"data": [{"id": ..., "max_model_len": ...}, ...]}
Result<ServerFacts> read_openai_models(std::string_view body, std::string_view wanted) {
  Json answer;
  if (const Status parsed = read_object(body, answer); !parsed) return parsed.error();
  const Json* models = member(answer, "data");
  if (!models || !models->is_array() || models->empty()) return bad("the server names no model");
  std::string names;
  for (const Json& model : *models) {
    const std::string id = huggingface::text_of(model, "id");
    if (id == wanted || (wanted.empty() && models->size() == 1 && !id.empty())) return ServerFacts{id, "", count_at(&model, "max_model_len").value_or(0)};
    names += (names.empty() ? "" : ", ") + id;
  }
  return Error{Code::kUnknownName, wanted.empty() ? fmt::format("the server has several models; name one of: {:.500}", names)
                                                  : fmt::format("the server has no model '{:.200}'; it has: {:.500}", wanted, names)};
}

std::string complete_openai(const CompletionQuestion& question) { return dump(openai_question(question, true)); }

std::string score_openai(const CompletionQuestion& question) {
  Json json = openai_question(question, true);
  json.update({{"max_tokens", 1}, {"temperature", 0}, {"echo", true}, {"logprobs", 1}});
  return dump(json);
}

// choices[0].logprobs: token_logprobs (null, numbers), top_logprobs (null, {text: number}); the prompt's tokens first.
Result<std::vector<TokenScore>> read_echoed_scores(std::string_view body, std::span<const std::int32_t> ids) {
  Json answer;
  if (const Status parsed = read_object(body, answer); !parsed) return parsed.error();
  const Json* choice = first_choice(answer);
  const Json* logprobs = choice ? member(*choice, "logprobs") : nullptr;
  const Json* values = logprobs ? member(*logprobs, "token_logprobs") : nullptr;
  if (!values || !values->is_array()) return Error{Code::kUnsupported, "the server returned no log-probabilities of the prompt (echo with logprobs)"};
  // The prompt and at most the one token that was generated.
  if (values->size() != ids.size() && values->size() != ids.size() + 1)
    return bad(fmt::format("{} log-probabilities for a prompt of {} tokens: the server read another prompt", values->size(), ids.size()));
  const Json* top = member(*logprobs, "top_logprobs");
  if (!top || !top->is_array() || top->size() != values->size()) return bad("top_logprobs are missing, so nobody knows whether a token was the most likely one");
  std::vector<TokenScore> scores(ids.size());
  for (std::size_t i = 1; i < ids.size(); ++i) {
    const auto own = logprob_of((*values)[i]);
    if (!own) return own.error();
    scores[i] = {*own, true};
    if (!(*top)[i].is_object() || (*top)[i].empty()) return bad(fmt::format("top_logprobs of token {} are missing", i));
    for (const auto& [token, value] : (*top)[i].items()) {
      const auto other = logprob_of(value);
      if (!other) return other.error();
      scores[i].is_greedy = scores[i].is_greedy && *other <= *own;
    }
  }
  return scores;
}

// ---- vLLM ----------------------------------------------------------------------------------------------------------------------

std::string complete_vllm(const CompletionQuestion& question) {
  Json json = openai_question(question, true);
  // A model's generation_config.json may set others.
  json.update({{"top_k", 0}, {"min_p", 0}, {"repetition_penalty", 1}, {"add_special_tokens", false}, {"return_token_ids", true}});
  return dump(json);
}

std::string score_vllm(const CompletionQuestion& question) {
  Json json = openai_question(question, true);
  json.update({{"max_tokens", 1}, {"temperature", 0}, {"prompt_logprobs", 1}, {"add_special_tokens", false}});
  return dump(json);
}

// choices[0].prompt_logprobs: [null, {"id": {"logprob": ..., "rank": ...}, ...}, ...]; the token itself is always among them.
Result<std::vector<TokenScore>> read_prompt_logprobs(std::string_view body, std::span<const std::int32_t> ids) {
  Json answer;
  if (const Status parsed = read_object(body, answer); !parsed) return parsed.error();
  const Json* choice = first_choice(answer);
  const Json* values = choice ? member(*choice, "prompt_logprobs") : nullptr;
  if (!values || !values->is_array()) return Error{Code::kUnsupported, "the server returned no prompt_logprobs"};
  if (values->size() != ids.size()) return bad(fmt::format("{} prompt_logprobs for a prompt of {} tokens: the server read another prompt", values->size(), ids.size()));
  std::vector<TokenScore> scores(ids.size());
  for (std::size_t i = 1; i < ids.size(); ++i) {
    const Json* own = member((*values)[i], std::to_string(ids[i]));
    if (!own || !member(*own, "logprob")) return bad(fmt::format("prompt_logprobs of position {} lack token {}, which the prompt has there", i, ids[i]));
    const auto logprob = logprob_of((*own)["logprob"]);
    if (!logprob) return logprob.error();
    scores[i] = {*logprob, true};
    for (const auto& [id, other] : (*values)[i].items()) {
      const Json* value = member(other, "logprob");
      if (value && value->is_number() && value->get<double>() > *logprob) scores[i].is_greedy = false;
    }
  }
  return scores;
}

std::string tokenize_vllm(std::string_view model, std::string_view text) { return dump({{"model", model}, {"prompt", text}, {"add_special_tokens", false}}); }

Result<std::vector<std::int32_t>> read_tokens(std::string_view body) {
  Json answer;
  if (const Status parsed = read_object(body, answer); !parsed) return parsed.error();
  return ids_at(answer, "tokens");
}

// ---- llama-server --------------------------------------------------------------------------------------------------------------

Result<ServerFacts> read_llama_props(std::string_view body, std::string_view wanted) {
  Json answer;
  if (const Status parsed = read_object(body, answer); !parsed) return parsed.error();
  const Json* settings = member(answer, "default_generation_settings");
  if (!settings) return bad("the answer has no default_generation_settings: is this llama-server?");
  std::string model = huggingface::text_of(answer, "model_alias");
  if (model.empty()) model = huggingface::text_of(answer, "model_path");
  if (!wanted.empty() && wanted != model) return Error{Code::kUnknownName, fmt::format("the server has no model '{:.200}'; it has: {:.200}", wanted, model)};
  return ServerFacts{model, huggingface::text_of(answer, "build_info"), count_at(settings, "n_ctx").value_or(0)};
}

std::string complete_llama(const CompletionQuestion& question) {
  const Generate& request = *question.request;
  Json json = {{"prompt", question.ids}, {"n_predict", request.tokens_max}, {"temperature", request.temperature}, {"top_p", request.top_p}, {"top_k", 0}, {"min_p", 0},
               {"repeat_penalty", 1}, {"samplers", {"top_p", "temperature"}}, {"seed", request.seed & 0x7fffffff}, {"cache_prompt", false}, {"return_tokens", true}, {"stream", false}};
  if (!request.stop.empty()) json["stop"] = request.stop;
  return dump(json);
}

Result<CompletionAnswer> read_llama_completion(std::string_view body) {
  Json answer;
  if (const Status parsed = read_object(body, answer); !parsed) return parsed.error();
  auto text = text_at(answer, "content");
  if (!text) return text.error();
  CompletionAnswer read;
  read.text = std::move(*text);
  const std::string reason = huggingface::text_of(answer, "stop_type");
  if (reason == "eos") read.stop = GenerateAnswer::Stop::kEndOfText;
  else if (reason == "word") read.stop = GenerateAnswer::Stop::kStopString;
  if (member(answer, "tokens")) {
    auto ids = ids_at(answer, "tokens");
    if (!ids) return ids.error();
    read.token_ids = std::move(*ids);
  }
  read.prompt_tokens = count_at(&answer, "tokens_evaluated");
  read.generated_tokens = count_at(&answer, "tokens_predicted");
  return read;
}

std::string tokenize_llama(std::string_view, std::string_view text) { return dump({{"content", text}, {"add_special", false}, {"parse_special", true}}); }

// ---- TabbyAPI (ExLlama) --------------------------------------------------------------------------------------------------------

Result<ServerFacts> read_tabby_model(std::string_view body, std::string_view wanted) {
  Json answer;
  if (const Status parsed = read_object(body, answer); !parsed) return parsed.error();
  const auto id = text_at(answer, "id");
  if (!id) return id.error();
  if (!wanted.empty() && wanted != *id) return Error{Code::kUnknownName, fmt::format("the server has no model '{:.200}'; it has: {:.200}", wanted, *id)};
  return ServerFacts{*id, "", count_at(member(answer, "parameters"), "max_seq_len").value_or(0)};
}

std::string complete_tabby(const CompletionQuestion& question) {
  Json json = openai_question(question, false);
  json.update({{"add_bos_token", question.add_bos}, {"top_k", 0}, {"min_p", 0}, {"repetition_penalty", 1}});
  return dump(json);
}

std::string tokenize_tabby(std::string_view, std::string_view text) { return dump({{"text", text}, {"add_bos_token", false}, {"encode_special_tokens", true}}); }

// ---- Ollama --------------------------------------------------------------------------------------------------------------------

Result<ServerFacts> read_ollama_tags(std::string_view body, std::string_view wanted) {
  Json answer;
  if (const Status parsed = read_object(body, answer); !parsed) return parsed.error();
  const Json* models = member(answer, "models");
  if (!models || !models->is_array() || models->empty()) return bad("the server names no model");
  std::string names;
  for (const Json& model : *models) {
    const std::string name = huggingface::text_of(model, "name");
    if (name == wanted || name == std::string(wanted) + ":latest" || (wanted.empty() && models->size() == 1 && !name.empty())) return ServerFacts{name, "", 0};
    names += (names.empty() ? "" : ", ") + name;
  }
  return Error{Code::kUnknownName, wanted.empty() ? fmt::format("the server has several models; name one of: {:.500}", names)
                                                  : fmt::format("the server has no model '{:.200}'; it has: {:.500}", wanted, names)};
}

// raw: without it Ollama wraps the prompt into its own template. The server adds BOS where the model wants one.
std::string complete_ollama(const CompletionQuestion& question) {
  const Generate& request = *question.request;
  Json options = {{"temperature", request.temperature}, {"top_p", request.top_p}, {"top_k", 0}, {"min_p", 0}, {"repeat_penalty", 1}, {"seed", request.seed & 0x7fffffff},
                  {"num_predict", request.tokens_max}, {"num_ctx", question.ids.size() + static_cast<std::size_t>(request.tokens_max) + 8}};
  if (!request.stop.empty()) options["stop"] = request.stop;
  return dump({{"model", question.model}, {"prompt", question.text}, {"raw", true}, {"stream", false}, {"options", options}});
}

Result<CompletionAnswer> read_ollama_completion(std::string_view body) {
  Json answer;
  if (const Status parsed = read_object(body, answer); !parsed) return parsed.error();
  auto text = text_at(answer, "response");
  if (!text) return text.error();
  CompletionAnswer read;
  read.text = std::move(*text);
  if (huggingface::text_of(answer, "done_reason") != "length") read.stop = GenerateAnswer::Stop::kEndOfText;
  read.prompt_tokens = count_at(&answer, "prompt_eval_count");
  read.generated_tokens = count_at(&answer, "eval_count");
  return read;
}

const std::array kDialects = {
    Dialect{"llama-server", true, true, "/props", read_llama_props, "/completion", complete_llama, read_llama_completion, nullptr, nullptr, "/tokenize", tokenize_llama, read_tokens},
    Dialect{"vllm", true, true, "/v1/models", read_openai_models, "/v1/completions", complete_vllm, read_openai_completion, score_vllm, read_prompt_logprobs, "/tokenize", tokenize_vllm,
            read_tokens},
    Dialect{"tabbyapi", false, true, "/v1/model", read_tabby_model, "/v1/completions", complete_tabby, read_openai_completion, nullptr, nullptr, "/v1/token/encode", tokenize_tabby,
            read_tokens},
    Dialect{"ollama", false, false, "/api/tags", read_ollama_tags, "/api/generate", complete_ollama, read_ollama_completion, nullptr, nullptr, "", nullptr, nullptr},
    Dialect{"openai", true, true, "/v1/models", read_openai_models, "/v1/completions", complete_openai, read_openai_completion, score_openai, read_echoed_scores, "", nullptr, nullptr},
};

}  // namespace

std::span<const Dialect> all_dialects() { return kDialects; }

Result<const Dialect*> find_dialect(std::string_view name) {
  std::string known;
  for (const Dialect& dialect : kDialects) {
    if (dialect.name == name) return &dialect;
    known += (known.empty() ? "" : ", ") + std::string(dialect.name);
  }
  return Error{Code::kUnknownName, fmt::format("no kind of server is called '{:.80}'; there are: {}", name, known)};
}

std::string error_text(std::string_view body) {
  Json json;
  std::string text(body.substr(0, 300));
  if (huggingface::parse_json(body, "", json)) {
    for (const char* key : {"error", "message", "detail"}) {
      const Json* value = member(json, key);
      if (value && value->is_object()) value = member(*value, "message");
      if (!value || !value->is_string()) continue;
      text = value->get<std::string>().substr(0, 300);
      break;
    }
  }
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = ' ';
  return text;
}

}  // namespace quantfleet
