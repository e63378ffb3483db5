#include "tests/backends/engines/engine_answers.h"

#include <algorithm>
#include <cmath>

namespace quantfleet {
namespace {

using namespace test;

std::vector<Request> mixed_requests() {
  const std::string header = "Question and answer. One plus one: two. ";
  std::vector<Request> requests;
  for (int i = 0; i < 9; ++i)
    requests.push_back(Loglikelihood{header + "Question " + std::to_string(i * 7919) + ":", {" yes", " no", " perhaps not", "x"}});
  requests.push_back(Loglikelihood{"", {"the theory", "z"}});
  requests.push_back(Loglikelihood{"spaces move to the right  ", {"a", "bc"}});
  std::string text;
  for (int i = 0; i < 60; ++i) text += "the weather " + std::to_string(i);
  requests.push_back(RollingLoglikelihood{text, 48});
  requests.push_back(RollingLoglikelihood{text, 48, RollingLoglikelihood::Windows::kEveryToken});
  requests.push_back(Loglikelihood{"", {" went on", " went on"}, {"the first one", "the second one, longer,"}});
  for (int i = 0; i < 20; ++i)
    requests.push_back(Generate{header + std::string(static_cast<std::size_t>(i % 5), 'q') + std::to_string(i), {"tok9"}, 3 + i % 9, i % 2 ? 0.8f : 0.0f,
                                static_cast<std::uint64_t>(i)});
  return requests;
}

TEST_CASE("an answer has the same bits alone, in company, in any order, and on any number of threads", "[engines]") {
  const auto [format, activations] = GENERATE(table<std::string, Activations>({{"F32", Activations::kF32}, {"F16", Activations::kF32}, {"Q8_0", Activations::kF32},
      {"Q8_0", Activations::kInt8}, {"Q4_0", Activations::kInt8}, {"Q4_K", Activations::kInt8}}));
  CAPTURE(format, static_cast<int>(activations));
  const fs::path path = model(shape_of(format));
  const auto requests = mixed_requests();
  auto together = engine(path, 1, activations);
  const auto expected = answers(*together, requests);
  CHECK(expected.at(0).has_value());

  // One at a time, each by an engine that knows nothing of the others.
  for (std::size_t i = 0; i < requests.size(); i += 3) {
    auto alone = engine(path, 1, activations);
    CHECK(bits(answers(*alone, {requests[i]}).at(0)) == bits(expected.at(i)));
  }
  // Backwards, three threads, on an engine whose cache is warm from other work.
  auto other = engine(path, 3, activations);
  answers(*other, {requests[4], requests[15]});
  const std::vector<Request> backwards(requests.rbegin(), requests.rend());
  const auto given = answers(*other, backwards);
  for (std::size_t i = 0; i < requests.size(); ++i) CHECK(bits(given.at(requests.size() - 1 - i)) == bits(expected.at(i)));
}

TEST_CASE("every kernel family gives the same bits", "[engines]") {
  const std::string format = GENERATE("F16", "Q8_0", "Q4_K", "Q6_K", "Q2_K");
  const fs::path path = model(shape_of(format));
  const std::vector<Request> requests = {Loglikelihood{"the same", {" bits", " and more bits"}}, Generate{"on every CPU", {}, 6, 0, 0}};
  for (const auto activations : {Activations::kF32, Activations::kInt8}) {
    auto scalar = engine(path, 2, activations, "scalar");
    const auto expected = answers(*scalar, requests);
    for (const KernelFamily* family : available_kernels()) {
      auto other = engine(path, 2, activations, std::string(family->name));
      const auto given = answers(*other, requests);
      CAPTURE(format, family->name);
      for (std::size_t i = 0; i < requests.size(); ++i) CHECK(bits(given.at(i)) == bits(expected.at(i)));
    }
  }
}

TEST_CASE("log-likelihoods are those of the logits", "[engines]") {
  auto native = engine(model(shape_of("F32")));
  const auto answer = answers(*native, {Loglikelihood{"abc ", {"de", "the"}}}).at(0);
  REQUIRE(answer.has_value());
  const auto& scores = std::get<LoglikelihoodAnswer>(answer->answer).continuations;
  // "abc" | " de": the space moved, three tokens are scored.
  CHECK(scores[0].count_tokens == 3);
  CHECK(scores[1].count_tokens == 2);  // " ", "the"
  const auto ids = native->tokenizer().encode("abc de", false, false);
  std::vector<std::vector<float>> rows;
  REQUIRE(native->logits(ids, [&](std::span<const float> row) { rows.emplace_back(row.begin(), row.end()); }).has_value());
  double expected = 0;
  bool greedy = true;
  for (std::size_t i = 2; i + 1 < ids.size(); ++i) {
    double sum = 0;
    for (const float logit : rows[i]) sum += std::exp(double(logit));
    expected += rows[i][static_cast<std::size_t>(ids[i + 1])] - std::log(sum);
    greedy = greedy && std::max_element(rows[i].begin(), rows[i].end()) - rows[i].begin() == ids[i + 1];
  }
  CHECK(scores[0].loglikelihood == Approx(expected).epsilon(1e-5));
  CHECK(scores[0].is_greedy == greedy);
  CHECK(answer->prompt_tokens == 3 + 2 + 1);
  CHECK(answer->logits_digest.size() == 32);
}

TEST_CASE("a context that is too long loses its beginning", "[engines]") {
  auto native = engine(model(shape_of("F32")));  // 128 tokens
  const std::string long_text(300, 'a');
  const auto cut = answers(*native, {Loglikelihood{long_text, {"xyz"}}}).at(0);
  const auto same = answers(*native, {Loglikelihood{std::string(126, 'a'), {"xyz"}}}).at(0);
  REQUIRE(cut.has_value());
  CHECK(bits(cut) == bits(same));
  SECTION("continuations of different lengths see different contexts") {
    const auto both = answers(*native, {Loglikelihood{long_text, {"x", "xyz"}}}).at(0);
    REQUIRE(both.has_value());
    CHECK(std::get<LoglikelihoodAnswer>(both->answer).continuations[1].loglikelihood ==
          std::get<LoglikelihoodAnswer>(cut->answer).continuations[0].loglikelihood);
  }
  SECTION("a continuation that is too long is an error of that item alone") {
    const auto two = answers(*native, {Loglikelihood{"a", {long_text}}, Loglikelihood{"a", {"b"}}});
    REQUIRE(two.at(0).has_error());
    CHECK(two.at(0).error().code == Code::kTooLarge);
    CHECK(two.at(1).has_value());
  }
  SECTION("a prompt that is too long is an error of that item alone") {
    const auto two = answers(*native, {Generate{long_text, {}, 4, 0, 0}, Generate{"a", {}, 4, 0, 0}});
    REQUIRE(two.at(0).has_error());
    CHECK(two.at(0).error().detail.find("300 tokens") != std::string::npos);
    CHECK(two.at(1).has_value());
  }
  SECTION("generation ends where the context does") {
    const auto end = answers(*native, {Generate{std::string(125, 'a'), {}, 50, 1.0f, 3}}).at(0);
    REQUIRE(end.has_value());
    CHECK(std::get<GenerateAnswer>(end->answer).token_ids.size() <= 4);
  }
}

TEST_CASE("generation stops at a stop string, also across tokens, and shows only what is before it", "[engines]") {
  auto native = engine(model(shape_of("F32")));
  const Generate free{"Once", {}, 24, 1.0f, 5};
  const auto whole = answers(*native, {free}).at(0);
  REQUIRE(whole.has_value());
  const std::string text = std::get<GenerateAnswer>(whole->answer).text;
  REQUIRE(text.size() > 12);
  CHECK(whole->inter_token_ms.size() + 1 == static_cast<std::size_t>(whole->generated_tokens));
  Generate stopping = free;
  stopping.stop = {text.substr(5, 4), "never in the text \x01"};
  const auto stopped = answers(*native, {stopping}).at(0);
  REQUIRE(stopped.has_value());
  const auto& answer = std::get<GenerateAnswer>(stopped->answer);
  CHECK(answer.stop == GenerateAnswer::Stop::kStopString);
  CHECK(answer.text == text.substr(0, text.find(stopping.stop[0])));
  SECTION("streamed text is the same text") {
    std::string streamed;
    REQUIRE(native->generate(stopping, [&](std::string_view part) { streamed += part; }).has_value());
    CHECK(streamed == answer.text);
    streamed.clear();
    REQUIRE(native->generate(free, [&](std::string_view part) { streamed += part; }).has_value());
    CHECK(streamed == text);
  }
  SECTION("the same seed draws the same text, another seed another") {
    CHECK(bits(answers(*native, {free}).at(0)) == bits(whole));
    Generate other = free;
    other.seed = 6;
    CHECK(bits(answers(*native, {other}).at(0)) != bits(whole));
  }
}

TEST_CASE("reference logits give zero divergence to themselves and are refused for other tokens", "[engines]") {
  const fs::path path = model(shape_of("Q8_0")), other = model(shape_of("Q4_0")), file = path.string() + ".ref";
  std::string text;
  for (int i = 0; i < 40; ++i) text += "some text " + std::to_string(i * i);
  const std::vector<Request> requests = {RollingLoglikelihood{text, 32}, RollingLoglikelihood{text + text, 64}};
  EngineOptions options;
  options.model = path;
  options.reference_logits_out = file;
  options.whole_reference_rows = GENERATE(true, false);
  {
    auto writer = NativeEngine::open(options).value();
    for (const auto& [index, response] : answers(*writer, requests)) CHECK(response.has_value());
  }
  options.reference_logits_out.clear();
  options.reference_logits_in = file;
  SECTION("the same model") {
    auto reader = NativeEngine::open(options).value();
    const auto given = answers(*reader, {requests[1], requests[0]});
    const auto& answer = std::get<RollingLoglikelihoodAnswer>(given.at(1).value().answer);
    REQUIRE(answer.divergence.has_value());
    const double rounding = options.whole_reference_rows ? 0 : 4e-6 * answer.count_tokens;  // of a logarithm in brief: 1.9e-6
    CHECK(std::abs(answer.divergence->kl_sum) <= rounding);
    CHECK(answer.divergence->top1_agreement_sum == answer.count_tokens);
    CHECK(std::abs(answer.divergence->reference_nll_sum - answer.nll_sum) <= rounding);
    CHECK(answer.divergence->kl_per_token.size() == static_cast<std::size_t>(answer.count_tokens));
    CHECK(answer.count_tokens % 15 == 0);  // 32 / 2 - 1 scored tokens a window
  }
  SECTION("another model diverges") {
    options.model = other;
    auto reader = NativeEngine::open(options).value();
    const auto given = answers(*reader, {requests[0]});
    CHECK(std::get<RollingLoglikelihoodAnswer>(given.at(0).value().answer).divergence->kl_sum > 0);
  }
  SECTION("another text is refused") {
    auto reader = NativeEngine::open(options).value();
    const auto given = answers(*reader, {RollingLoglikelihood{"x" + text, 32}});
    REQUIRE(given.at(0).has_error());
    CHECK(given.at(0).error().code == Code::kHashMismatch);
  }
}

TEST_CASE("the caller may stop, and what is left was cancelled", "[engines]") {
  auto native = engine(model(shape_of("F32")));
  std::vector<Request> requests(100, Generate{"x", {}, 2, 0, 0});
  int cancelled = 0, answered = 0;
  native->answer(requests, [&](std::size_t, Result<Response> response) {
    ++answered;
    if (!response) cancelled += response.error().code == Code::kCancelled;
    return false;
  });
  CHECK(answered == 100);
  CHECK(cancelled >= 100 - 64);
}

TEST_CASE("timing counts what it was asked for", "[engines]") {
  auto native = engine(model(shape_of("Q8_0")));
  const auto sample = native->time(20, 5, 1).value();
  CHECK(sample.prompt_tokens == 20);
  CHECK(sample.generated_tokens == 5);
  CHECK(sample.inter_token_ms.size() == 5);
  CHECK(sample.prefill_seconds > 0);
  CHECK(native->time(0, 1, 1).has_error());
  CHECK(native->time_batch(8, 3, 4, 1).value().generated_tokens == 12);
}

TEST_CASE("an engine says what it is, and what it cannot open", "[engines]") {
  EngineOptions options;
  options.model = model(shape_of("F16"));
  options.activations = Activations::kInt8;
  const auto opened = open_engine("native", options).value();
  CHECK(opened->info().activations == "f32");  // F16 has no int8 activations
  CHECK(opened->info().architecture == "llama");
  CHECK(opened->info().vocabulary_tokens == 300);
  CHECK(opened->info().model_sha256.size() == 64);
  CHECK(open_engine("vapour", options).error().code == Code::kUnknownName);
  options.model = "/no/such/model.gguf";
  CHECK(open_engine("native", options).error().code == Code::kNotFound);
  options.model = model(shape_of("F16"));
  options.kernels = "abacus";
  CHECK(open_engine("native", options).has_error());
}

TEST_CASE("every token of a rolling text is scored once: windows as lm-evaluation-harness makes them", "[engines]") {
  const fs::path path = model(shape_of("F32"));
  auto one = engine(path);
  std::string text;
  for (int i = 0; i < 20; ++i) text += "the weather " + std::to_string(i);
  const std::vector<std::int32_t> tokens = one->tokenizer().encode(text, false, false);
  const std::int32_t prefix = one->tokenizer().prefix_token().value();
  const auto count = static_cast<int>(tokens.size());
  for (const int asked : {16, 100, count - 1, count, count + 5}) {
    const int window = std::min(asked, static_cast<int>(one->info().context_tokens));  // never more than the model's context
    CAPTURE(asked, window, count);
    // The definition, window by window, with one forward pass for each.
    double nll = 0;
    for (int predicted = 0; predicted < count;) {
      const int more = std::min(window, count - predicted), end = predicted + more;
      std::vector<std::int32_t> input;
      if (predicted == 0) input.push_back(prefix);
      for (int i = predicted == 0 ? 0 : end - 1 - window; i < end - 1; ++i) input.push_back(tokens[static_cast<std::size_t>(i)]);
      CHECK(static_cast<int>(input.size()) == (predicted == 0 ? more : window));
      std::vector<std::vector<float>> rows;
      REQUIRE(one->logits(input, [&](std::span<const float> logits) { rows.emplace_back(logits.begin(), logits.end()); }).has_value());
      for (int i = 0; i < more; ++i) {
        const auto& logits = rows[rows.size() - static_cast<std::size_t>(more - i)];
        double sum = 0;
        for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
        nll += std::log(sum) - static_cast<double>(logits[static_cast<std::size_t>(tokens[static_cast<std::size_t>(predicted + i)])]);
      }
      predicted = end;
    }
    const auto given = answers(*one, {RollingLoglikelihood{text, asked, RollingLoglikelihood::Windows::kEveryToken}}).at(0);
    if (!given) FAIL(given.error().detail);
    const auto& answer = std::get<RollingLoglikelihoodAnswer>(given->answer);
    CHECK(answer.count_tokens == count);
    CHECK(answer.nll_sum == Approx(nll).epsilon(1e-5));
  }
}

TEST_CASE("contexts that differ: each continuation is scored behind its own", "[engines]") {
  auto one = engine(model(shape_of("F32")));
  const auto together = answers(*one, {Loglikelihood{"", {" went on", " went on"}, {"the first one", "the second one, longer,"}}}).at(0);
  REQUIRE(together.has_value());
  for (const std::size_t i : {0, 1}) {
    const auto alone = answers(*one, {Loglikelihood{i == 0 ? "the first one" : "the second one, longer,", {" went on"}, {}}}).at(0);
    CHECK(std::get<LoglikelihoodAnswer>(together->answer).continuations[i].loglikelihood == std::get<LoglikelihoodAnswer>(alone->answer).continuations[0].loglikelihood);
  }
  CHECK_FALSE(answers(*one, {Loglikelihood{"", {"a", "b"}, {"only one"}}}).at(0).has_value());
}

}  // namespace
}  // namespace quantfleet
