// Inference servers as engines. A server that speaks a dialect as documented, over our own engine, must give what that engine gives; one that
// misbehaves costs an item and one sentence.
#include "backends/engines/external.h"
#include "backends/engines/token_probes.h"
#include "tests/backends/engines/engine_answers.h"
#include "tests/fake_inference_server.h"

#include <catch2/catch.hpp>

namespace quantfleet {
namespace {

using test::FakeInferenceServer;
using test::FakeReply;
using Json = nlohmann::json;

const test::RandomModel& shape() {
  static const test::RandomModel kShape = [] {
    test::RandomModel one;
    one.adds_bos = true;
    return one;
  }();
  return kShape;
}

EngineOptions options_for(const std::string& url) {
  EngineOptions options;
  options.model = test::model(shape());
  options.server.url = url;
  options.server.timeout_s = 20;
  options.server.connections = 3;
  return options;
}

std::unique_ptr<Engine> open(const std::string& dialect, const std::string& url) {
  auto engine = open_engine(dialect, options_for(url));
  if (!engine) FAIL(engine.error().detail);
  return std::move(*engine);
}

std::vector<Request> questions() {
  return {Generate{"the number 12 is", {}, 8}, Generate{"<|endoftext|>once", {"tok2"}, 12}, Generate{"a", {}, 4},
          Loglikelihood{"the answer is ", {"yes", "no", "the"}}, Loglikelihood{"", {"the the"}}, RollingLoglikelihood{std::string(400, 'x') + " the end", 64}};
}

// tells_why: the server says whether a stop string or the end of the text stopped it.
void check_same(const Response& ours, const Response& theirs, bool tells_why) {
  CHECK(theirs.prompt_token_ids == ours.prompt_token_ids);
  if (const auto* generated = std::get_if<GenerateAnswer>(&ours.answer)) {
    // A random model's text need not be UTF-8, and JSON must be.
    const auto utf8 = [](const std::string& text) { return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace); };
    CHECK(utf8(std::get<GenerateAnswer>(theirs.answer).text) == utf8(generated->text));
    const auto why = [&](GenerateAnswer::Stop stop) { return !tells_why && stop == GenerateAnswer::Stop::kStopString ? GenerateAnswer::Stop::kEndOfText : stop; };
    CHECK(why(std::get<GenerateAnswer>(theirs.answer).stop) == why(generated->stop));
  } else if (const auto* scored = std::get_if<LoglikelihoodAnswer>(&ours.answer)) {
    const auto& other = std::get<LoglikelihoodAnswer>(theirs.answer);
    REQUIRE(other.continuations.size() == scored->continuations.size());
    for (std::size_t c = 0; c < scored->continuations.size(); ++c) {
      CHECK(other.continuations[c].loglikelihood == Approx(scored->continuations[c].loglikelihood).epsilon(1e-6));
      CHECK(other.continuations[c].is_greedy == scored->continuations[c].is_greedy);
      CHECK(other.continuations[c].token_ids == scored->continuations[c].token_ids);
    }
  } else {
    const auto& rolled = std::get<RollingLoglikelihoodAnswer>(ours.answer);
    CHECK(std::get<RollingLoglikelihoodAnswer>(theirs.answer).count_tokens == rolled.count_tokens);
    CHECK(std::get<RollingLoglikelihoodAnswer>(theirs.answer).nll_sum == Approx(rolled.nll_sum).epsilon(1e-6));
  }
  CHECK(theirs.logits_digest.empty());
}

TEST_CASE("a server gives what the model gives, and what it cannot give is refused by name", "[engines][external]") {
  const auto native = test::engine(test::model(shape()));
  const auto ours = test::answers(*native, questions());
  for (const Dialect& dialect : all_dialects()) {
    CAPTURE(dialect.name);
    FakeInferenceServer server(std::string(dialect.name), *native);
    const auto engine = open(std::string(dialect.name), server.url());
    CHECK(engine->info().engine == dialect.name);
    CHECK(engine->info().context_tokens == 128);
    CHECK(engine->info().scores_prompts == (dialect.name == "vllm" || dialect.name == "openai"));
    const auto theirs = test::answers(*engine, questions());
    for (const auto& [index, response] : theirs) {
      CAPTURE(index);
      if (index >= 3 && !engine->info().scores_prompts) {
        REQUIRE(response.has_error());
        CHECK(response.error().code == Code::kUnsupported);
        CHECK(response.error().detail.find(dialect.name) != std::string::npos);
        continue;
      }
      if (!response) FAIL(response.error().detail);
      check_same(*ours.at(index), *response, dialect.name == "vllm" || dialect.name == "llama-server");
    }
    for (const Json& asked : server.asked()) {
      if (asked.contains("stream")) CHECK(asked["stream"] == false);
      if (asked.contains("temperature")) CHECK(asked["temperature"] == 0);
    }
    CHECK(engine->time(8, 8, 1).has_error());
  }
}

TEST_CASE("a server that takes texts is told about BOS once, whoever brings it", "[engines][external]") {
  const auto native = test::engine(test::model(shape()));
  FakeInferenceServer server("tabbyapi", *native);
  const auto engine = open("tabbyapi", server.url());
  const std::vector<Request> requests = {Generate{"hello", {}, 1}, Generate{"<|endoftext|>hello", {}, 1}};
  for (const auto& [index, response] : test::answers(*engine, requests)) {
    if (!response) FAIL(response.error().detail);
    CHECK(response->prompt_token_ids == native->tokenize("<|endoftext|>hello", TokensAs::kText).value());
  }
  for (const Json& asked : server.asked()) {
    CHECK(asked["prompt"] == "hello");
    CHECK(asked["add_bos_token"] == true);
  }
}

TEST_CASE("an engine that tokenizes otherwise is refused with the text and both lists of ids", "[engines][external]") {
  const auto native = test::engine(test::model(shape()));
  const std::vector<TokenProbe> probes = make_token_probes(native->tokenizer());
  CHECK(check_token_probes(*native, probes).has_value());
  CHECK(decode_token_probes(encode_token_probes(probes), "probes").value() == probes);
  const std::string dialect = GENERATE("llama-server", "vllm", "tabbyapi");
  CAPTURE(dialect);
  FakeInferenceServer server(dialect, *native);
  const auto engine = open(dialect, server.url());
  CHECK(check_token_probes(*engine, probes).has_value());
  std::string text;
  std::vector<std::int32_t> wrong;
  SECTION("another vocabulary") { text = "camelCase snake_case SCREAMING kebab-case", wrong = {7, 8, 9}; }
  SECTION("a BOS that nobody asked for") {
    text = "Hello, world!";
    wrong = native->tokenizer().encode(text, false, true);
    wrong.insert(wrong.begin(), *native->tokenizer().vocabulary().bos);
  }
  FakeInferenceServer::Behaviour behaviour;
  behaviour.instead = [&](const std::string& path, const Json& asked) -> std::optional<FakeReply> {
    if (path.find("token") == std::string::npos) return std::nullopt;
    for (const char* key : {"content", "prompt", "text"})
      if (asked.contains(key) && asked[key] == text) return FakeReply{Json{{"tokens", wrong}}.dump()};
    return std::nullopt;
  };
  server.behave(behaviour);
  const Status conforms = check_token_probes(*engine, probes);
  REQUIRE(conforms.has_error());
  CAPTURE(conforms.error().detail);
  CHECK(conforms.error().code == Code::kBadValue);
  CHECK(conforms.error().detail.find(text) != std::string::npos);
  CHECK(conforms.error().detail.find(fmt::format("[{}]", fmt::join(wrong, ", "))) != std::string::npos);
  const auto expected = native->tokenizer().encode(text, false, true);
  CHECK(conforms.error().detail.find(fmt::format("{}", fmt::join(std::span(expected).first(3), ", "))) != std::string::npos);
}

TEST_CASE("a server that does not say how it tokenizes is told apart from one that tokenizes otherwise", "[engines][external]") {
  const auto native = test::engine(test::model(shape()));
  const std::string dialect = GENERATE("ollama", "openai");
  FakeInferenceServer server(dialect, *native);
  const Status conforms = check_token_probes(*open(dialect, server.url()), make_token_probes(native->tokenizer()));
  REQUIRE(conforms.has_error());
  CHECK(conforms.error().code == Code::kUnsupported);
  CHECK(conforms.error().detail.find(dialect) != std::string::npos);
}

TEST_CASE("a server that reads more tokens than the prompt has loses the item", "[engines][external]") {
  const auto native = test::engine(test::model(shape()));
  for (const char* dialect : {"llama-server", "vllm", "tabbyapi", "ollama", "openai"}) {
    CAPTURE(dialect);
    FakeInferenceServer server(dialect, *native);
    FakeInferenceServer::Behaviour behaviour;
    behaviour.extra_prompt_tokens = 1;
    server.behave(behaviour);
    const std::vector<Request> requests = {Generate{"hello", {}, 1}};
    const auto answers = test::answers(*open(dialect, server.url()), requests);
    REQUIRE(answers.at(0).has_error());
    CHECK(answers.at(0).error().detail.find("BOS twice") != std::string::npos);
  }
}

TEST_CASE("each fault of a server is one sentence and one item's error", "[engines][external]") {
  const auto native = test::engine(test::model(shape()));
  FakeInferenceServer server("vllm", *native);
  EngineOptions options = options_for(server.url());
  options.server.answer_bytes_max = 20'000;
  FakeReply reply;
  Code code = Code::kBadValue;
  std::string word;
  SECTION("status 500") { reply = {R"({"error":{"message":"out of cards"}})", 500}, code = Code::kUnreachable, word = "status 500: out of cards"; }
  SECTION("status 400") { reply = {R"({"detail":"no such\nfield"})", 400}, word = "status 400: no such field"; }
  SECTION("status 401") { reply = {"<html>who are you</html>", 401}, code = Code::kPermission, word = "401"; }
  SECTION("an answer cut off") { reply = {std::string(2000, ' '), 200, FakeReply::Fault::kTruncated}, code = Code::kTruncated, word = "inside its answer"; }
  SECTION("silence") { reply = {"", 200, FakeReply::Fault::kSilent}, code = Code::kTimeout, word = "2 s", options.server.timeout_s = 2; }  // answers of good will take milliseconds
  SECTION("no HTTP") { reply = {"", 200, FakeReply::Fault::kNoHttp}, word = "HTTP"; }
  SECTION("a closed connection") { reply = {"", 200, FakeReply::Fault::kClosed}, code = Code::kUnreachable, word = "without an answer"; }
  SECTION("a huge answer") { reply = {std::string(50'000, ' ')}, code = Code::kTooLarge, word = "20000 bytes"; }
  SECTION("no JSON") { reply = {"{\"choices\": ["}, word = "JSON"; }
  SECTION("JSON of something else") { reply = {R"({"choices":[{"text":7}]})"}, word = "'text'"; }
  SECTION("a list") { reply = {"[]"}, word = "JSON object"; }
  FakeInferenceServer::Behaviour behaviour;
  behaviour.instead = [&](const std::string& path, const Json& asked) -> std::optional<FakeReply> {
    if (path != "/v1/completions" || asked["prompt"].size() != 6) return std::nullopt;  // the second request's prompt
    return reply;
  };
  server.behave(behaviour);
  const auto engine = open_engine("vllm", options).value();
  const std::vector<Request> requests = {Generate{"ab", {}, 1}, Generate{"abcde", {}, 1}, Generate{"abc", {}, 1}};
  const auto answers = test::answers(*engine, requests);
  REQUIRE(answers.at(1).has_error());
  CAPTURE(answers.at(1).error().detail);
  CHECK(answers.at(1).error().code == code);
  CHECK(answers.at(1).error().detail.find(word) != std::string::npos);
  CHECK(answers.at(1).error().detail.find(server.url()) != std::string::npos);
  CHECK(answers.at(1).error().detail.find('\n') == std::string::npos);
  CHECK(answers.at(0).has_value());
  CHECK(answers.at(2).has_value());
}

TEST_CASE("scores that belong to another prompt are refused", "[engines][external]") {
  const auto native = test::engine(test::model(shape()));
  const std::string dialect = GENERATE("vllm", "openai");
  FakeInferenceServer server(dialect, *native);
  const auto engine = open(dialect, server.url());
  std::string body, word;
  Code code = Code::kBadValue;
  const bool vllm = dialect == "vllm";
  SECTION("too few") {
    body = vllm ? R"({"choices":[{"text":"","prompt_logprobs":[null]}]})" : R"({"choices":[{"text":"","logprobs":{"token_logprobs":[null],"top_logprobs":[null]}}]})";
    word = "another prompt";
  }
  SECTION("none") {
    body = R"({"choices":[{"text":"","prompt_logprobs":null,"logprobs":null}]})";
    code = Code::kUnsupported;
    word = "returned no";
  }
  SECTION("a probability above one") {
    body = vllm ? R"({"choices":[{"text":"","prompt_logprobs":[null,{"97":{"logprob":3.5}}]}]})"
                : R"({"choices":[{"text":"","logprobs":{"token_logprobs":[null,3.5],"top_logprobs":[null,{"a":3.5}]}}]})";
    word = vllm ? "" : "log-probability";
  }
  FakeInferenceServer::Behaviour behaviour;
  behaviour.instead = [&](const std::string& path, const Json&) -> std::optional<FakeReply> {
    return path == "/v1/completions" ? std::optional(FakeReply{body}) : std::nullopt;
  };
  server.behave(behaviour);
  const std::vector<Request> requests = {Loglikelihood{"", {"a"}}};
  const auto answers = test::answers(*engine, requests);
  REQUIRE(answers.at(0).has_error());
  CAPTURE(answers.at(0).error().detail);
  CHECK(answers.at(0).error().code == code);
  CHECK(answers.at(0).error().detail.find(word) != std::string::npos);
}

TEST_CASE("which server and which model is settled before anything is asked", "[engines][external]") {
  const auto native = test::engine(test::model(shape()));
  FakeInferenceServer server("vllm", *native);
  const auto error_of = [&](const std::string& dialect, const EngineOptions& options) {
    const auto engine = open_engine(dialect, options);
    return engine ? Error{} : engine.error();
  };
  EngineOptions options = options_for(server.url());
  SECTION("several models") {
    FakeInferenceServer::Behaviour behaviour;
    behaviour.models = {"one", "two"};
    server.behave(behaviour);
    CHECK(error_of("vllm", options).code == Code::kUnknownName);
    CHECK(error_of("vllm", options).detail.find("one, two") != std::string::npos);
    options.server.model = "three";
    CHECK(error_of("vllm", options).detail.find("'three'") != std::string::npos);
    options.server.model = "two";
    CHECK(open_engine("vllm", options).value()->info().model_name == "two");
  }
  SECTION("another kind of server") {
    CHECK(error_of("llama-server", options).detail.find("404") != std::string::npos);
    CHECK(error_of("sglang", options).code == Code::kUnknownName);
    CHECK(error_of("sglang", options).detail.find("vllm") != std::string::npos);
  }
  SECTION("nobody there") {
    std::string gone;
    { gone = test::FakeHttpServer([](const std::string&, const std::string&) { return FakeReply{}; }).url(); }
    options.server.url = gone;
    CHECK(error_of("vllm", options).code == Code::kUnreachable);
    CHECK(error_of("vllm", options).detail.find(gone) != std::string::npos);
  }
  SECTION("an adapter cannot be put on it") {
    options.adapters.push_back({"adapter.gguf", 1});
    CHECK(error_of("vllm", options).code == Code::kUsage);
  }
  SECTION("addresses") {
    for (const char* url : {"https://127.0.0.1", "127.0.0.1:8000", "http://", "http://h:0", "http://h:65536", "http://h:x", "http://u@h", "http://h/a?b", "http://[::1"}) {
      CAPTURE(url);
      const auto read = read_http_url(url);
      REQUIRE(read.has_error());
      CHECK(read.error().code == Code::kUsage);
    }
    CHECK(read_http_url("http://h")->port == "80");
    CHECK(read_http_url("http://[::1]:81/base/")->host == "::1");
    CHECK(read_http_url("http://[::1]:81/base/")->base == "/base");
  }
}

TEST_CASE("a request that no engine can answer says why, through HTTP as here", "[engines][external]") {
  const auto native = test::engine(test::model(shape()));
  FakeInferenceServer server("vllm", *native);
  const auto external = open("vllm", server.url());
  const std::vector<Request> requests = {Generate{std::string(200, 'x'), {}, 4}, Loglikelihood{"a", {std::string(200, 'x')}}, RollingLoglikelihood{"abc", 512}, Loglikelihood{"a", {}},
                                         Generate{"a", {}, 4, -1}};
  const auto ours = test::answers(*native, requests), theirs = test::answers(*external, requests);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    REQUIRE(ours.at(i).has_error());
    REQUIRE(theirs.at(i).has_error());
    CHECK(theirs.at(i).error() == ours.at(i).error());
  }
  CHECK(ours.at(0).error().detail == "the prompt has 201 tokens; the context has room for 128");
}

}  // namespace
}  // namespace quantfleet
