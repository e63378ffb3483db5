#include "backends/engines/external.h"

#include "backends/engines/request_tokens.h"
#include "backends/formats/file_hash.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/models/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>

namespace quantfleet {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

}  // namespace

Result<std::unique_ptr<ExternalEngine>> ExternalEngine::open(std::string_view dialect_name, const EngineOptions& options) {
  const auto dialect = find_dialect(dialect_name);
  if (!dialect) return dialect.error();
  auto url = read_http_url(options.server.url);
  if (!url) return url.error();
  if (!options.adapters.empty()) return Error{Code::kUsage, "an adapter cannot be put on a server's model from outside; start the server with it"};
  if (!options.reference_logits_in.empty() || !options.reference_logits_out.empty())
    return Error{Code::kUnsupported, fmt::format("{} does not return whole distributions, so there are no reference logits", (*dialect)->name)};
  if (options.server.connections < 1 || options.server.connections > 256 || options.server.timeout_s <= 0)
    return Error{Code::kBadValue, fmt::format("{} connections and {} s; 1 to 256 and a positive time are possible", options.server.connections, options.server.timeout_s)};
  const auto file = open_model_file(options.model);
  if (!file) return file.error();
  std::unique_ptr<ExternalEngine> engine(new ExternalEngine);
  engine->dialect_ = *dialect;
  engine->url_ = std::move(*url);
  engine->server_ = options.server;
  auto tokenizer = Tokenizer::from_gguf(**file);
  if (!tokenizer) return at(options.model.string(), tokenizer.error());
  engine->tokenizer_ = *tokenizer;
  const auto body = engine->ask((*dialect)->facts_path, "");
  if (!body) return body.error();
  const auto facts = (*dialect)->read_facts(*body, options.server.model);
  if (!facts) return at(engine->url_.text, facts.error());
  engine->model_ = facts->model;

  EngineInfo& info = engine->info_;
  info.engine = std::string((*dialect)->name);
  info.model_name = facts->model;
  info.format = "external";
  info.kernels = facts->version;
  info.scores_prompts = (*dialect)->score != nullptr;
  const auto hash = sha256_of_files((*file)->parts());
  if (!hash) return hash.error();
  info.model_sha256 = *hash;
  const auto architecture = (*file)->string_or("general.architecture", "");
  if (!architecture) return architecture.error();
  info.architecture = *architecture;
  const auto chat = (*file)->string_or("tokenizer.chat_template", "");
  if (!chat) return chat.error();
  info.chat_template = *chat;
  info.vocabulary_tokens = engine->tokenizer_->size();
  const auto own = (*file)->int_or(*architecture + ".context_length", 0);
  if (!own) return own.error();
  for (const std::int64_t tokens : {static_cast<std::int64_t>(options.context_tokens), static_cast<std::int64_t>(facts->context_tokens), *own})
    if (info.context_tokens == 0 && tokens > 0) info.context_tokens = static_cast<int>(std::min<std::int64_t>(tokens, 1 << 24));
  if (facts->context_tokens > 0) info.context_tokens = std::min(info.context_tokens, facts->context_tokens);
  if (info.context_tokens == 0) return Error{Code::kNotFound, fmt::format("{}: no context length, neither there nor from the server; give one", options.model.string())};
  info.connections = options.server.connections;
  return engine;
}

Result<std::string> ExternalEngine::ask(std::string_view path, std::string body) const {
  HttpRequest request;
  request.path = std::string(path);
  request.body = std::move(body);
  request.bearer = server_.key;
  request.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(server_.timeout_s * 1000));
  request.answer_bytes_max = server_.answer_bytes_max;
  auto answer = http_exchange(url_, request);
  if (!answer) return answer.error();
  if (answer->status == 200) return std::move(answer->body);
  const Code code = answer->status == 401 || answer->status == 403 ? Code::kPermission : answer->status >= 500 ? Code::kUnreachable : Code::kBadValue;
  return Error{code, fmt::format("{}{} answered with status {}: {}", url_.text, path, answer->status, error_text(answer->body))};
}

Result<std::vector<std::int32_t>> ExternalEngine::tokenize(std::string_view text, TokensAs as) {
  if (dialect_->tokenize_path.empty()) return Error{Code::kUnsupported, fmt::format("{} does not say how it tokenizes", dialect_->name)};
  // What begins a prompt is this program's doing: ids with one BOS, or a text and whether BOS goes before it.
  const auto body = ask(dialect_->tokenize_path, dialect_->tokenize(model_, text));
  if (!body) return body.error();
  auto ids = dialect_->read_tokens(*body);
  if (!ids) return at(url_.text, ids.error());
  const auto bos = tokenizer_->vocabulary().bos;
  if (as == TokensAs::kPrompt && tokenizer_->adds_bos() && bos && (ids->empty() || ids->front() != *bos)) ids->insert(ids->begin(), *bos);
  return ids;
}

Result<TimingSample> ExternalEngine::time(int, int, std::uint64_t) {
  return Error{Code::kUnsupported, fmt::format("{} is not timed from outside: its caches and its queue are not known", dialect_->name)};
}

Result<Response> ExternalEngine::answer_one(const Request& request) const {
  const auto start = Clock::now();
  auto response = std::visit([&](const auto& one) -> Result<Response> {
    using Kind = std::decay_t<decltype(one)>;
    if constexpr (std::is_same_v<Kind, Generate>) return generate(one);
    else if constexpr (std::is_same_v<Kind, Loglikelihood>) return score(one);
    else return roll(one);
  }, request);
  if (response) response->total_ms = ms_since(start);
  return response;
}

Result<Response> ExternalEngine::generate(const Generate& request) const {
  const auto ids = tokens_of(*tokenizer_, request, info_.context_tokens);
  if (!ids) return ids.error();
  std::string text = request.prompt;
  const auto bos = tokenizer_->vocabulary().bos;
  const std::string_view bos_text = bos ? tokenizer_->piece(*bos) : std::string_view();
  CompletionQuestion question{model_, text, *ids, false, &request};
  if (tokenizer_->adds_bos() && bos && !bos_text.empty()) {
    // Servers that take texts add BOS themselves: the text must not bring another.
    if (text.starts_with(bos_text)) question.text.remove_prefix(bos_text.size());
    question.add_bos = true;
  }
  const auto body = ask(dialect_->complete_path, dialect_->complete(question));
  if (!body) return body.error();
  auto answer = dialect_->read_completion(*body);
  if (!answer) return at(url_.text, answer.error());
  const int expected = static_cast<int>(ids->size());
  if (answer->prompt_tokens && (*answer->prompt_tokens > expected || (dialect_->counts_prompts && *answer->prompt_tokens < expected)))
    return Error{Code::kBadValue, fmt::format("{} read {} tokens for a prompt of {}: it tokenizes otherwise, or adds BOS twice", dialect_->name, *answer->prompt_tokens, expected)};
  GenerateAnswer generated{std::move(answer->text), std::move(answer->token_ids), answer->stop};
  // The stop strings hold whatever the server does with them.
  std::size_t cut = std::string::npos;
  for (const std::string& stop : request.stop)
    if (!stop.empty()) cut = std::min(cut, generated.text.find(stop));
  if (cut != std::string::npos) {
    generated.text.resize(cut);
    generated.stop = GenerateAnswer::Stop::kStopString;
  }
  Response response;
  response.prompt_token_ids = *ids;
  response.prompt_tokens = expected;
  response.generated_tokens = answer->generated_tokens.value_or(static_cast<int>(generated.token_ids.size()));
  response.answer = std::move(generated);
  return response;
}

Result<std::vector<TokenScore>> ExternalEngine::scores(std::span<const std::int32_t> ids, std::size_t begin) const {
  if (!dialect_->score)
    return Error{Code::kUnsupported, fmt::format("{} does not return the log-probabilities of a prompt, which log-likelihoods are made of; vllm does, and servers with echo and logprobs (openai)", dialect_->name)};
  const auto body = ask(dialect_->complete_path, dialect_->score({model_, {}, ids, false, nullptr}));
  if (!body) return body.error();
  auto all = dialect_->read_scores(*body, ids);
  if (!all) return at(url_.text, all.error());
  all->erase(all->begin(), all->begin() + static_cast<std::ptrdiff_t>(begin));
  return all;
}

Result<Response> ExternalEngine::score(const Loglikelihood& request) const {
  const auto continuations = tokens_of(*tokenizer_, request, info_.context_tokens);
  if (!continuations) return continuations.error();
  LoglikelihoodAnswer answer;
  Response response;
  for (const ScoredContinuation& one : *continuations) {
    ContinuationScore& result = answer.continuations.emplace_back();
    result.is_greedy = true;
    result.count_tokens = static_cast<int>(one.tokens.size());
    result.token_ids = one.tokens;
    if (response.prompt_token_ids.empty()) response.prompt_token_ids = one.context;
    if (one.tokens.empty()) continue;
    std::vector<std::int32_t> ids = one.context;
    ids.insert(ids.end(), one.tokens.begin(), one.tokens.end());
    const auto scored = scores(ids, one.context.size());
    if (!scored) return scored.error();
    for (const TokenScore& token : *scored) {
      result.loglikelihood += token.loglikelihood;
      result.is_greedy = result.is_greedy && token.is_greedy;
    }
    response.prompt_tokens += static_cast<int>(ids.size());
  }
  response.answer = std::move(answer);
  return response;
}

Result<Response> ExternalEngine::roll(const RollingLoglikelihood& request) const {
  std::vector<std::int32_t> tokens;
  const auto windows = tokens_of(*tokenizer_, request, info_.context_tokens, tokens);
  if (!windows) return windows.error();
  RollingLoglikelihoodAnswer answer;
  for (const ScoredWindow& window : *windows) {
    std::vector<std::int32_t> ids = window.input;
    const std::size_t count = window.input.size() - static_cast<std::size_t>(window.first);
    ids.push_back(tokens[window.target + count - 1]);
    const auto scored = scores(ids, ids.size() - count);
    if (!scored) return scored.error();
    for (const TokenScore& token : *scored) {
      answer.nll_sum -= token.loglikelihood;
      answer.nll_squared_sum += token.loglikelihood * token.loglikelihood;
      ++answer.count_tokens;
    }
  }
  Response response;
  response.prompt_tokens = static_cast<int>(tokens.size());
  response.answer = std::move(answer);
  return response;
}

void ExternalEngine::answer(std::span<const Request> requests, const std::function<bool(std::size_t, Result<Response>)>& done) {
  std::atomic<std::size_t> next = 0;
  std::atomic<bool> stop = false;
  std::mutex mutex;  // guards answers
  std::condition_variable arrived;
  std::deque<std::pair<std::size_t, Result<Response>>> answers;
  std::vector<std::thread> threads;
  const std::size_t count = std::min(requests.size(), static_cast<std::size_t>(server_.connections));
  for (std::size_t t = 0; t < count; ++t)
    threads.emplace_back([&] {
      for (std::size_t index = next++; index < requests.size(); index = next++) {
        Result<Response> response = stop ? Result<Response>(Error{Code::kCancelled, "stopped before this request was answered"}) : answer_one(requests[index]);
        const std::lock_guard lock(mutex);
        answers.emplace_back(index, std::move(response));
        arrived.notify_one();
      }
    });
  for (std::size_t received = 0; received < requests.size(); ++received) {
    std::unique_lock lock(mutex);
    arrived.wait(lock, [&] { return !answers.empty(); });
    auto [index, response] = std::move(answers.front());
    answers.pop_front();
    lock.unlock();
    if (!done(index, std::move(response))) stop = true;
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace quantfleet
