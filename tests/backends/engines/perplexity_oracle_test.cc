// Perplexity and divergence against llama-perplexity's numbers (oracle/numbers.md).
#include "backends/engines/native.h"
#include "tests/shared_data.h"

#include <unistd.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>

namespace quantfleet {
namespace {

const std::string kOracle = "oracle/";

std::string text_of(const std::string& name) {
  std::ifstream file(test::shared_root() / (kOracle + "text/" + name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

RollingLoglikelihoodAnswer roll(const EngineOptions& options, const RollingLoglikelihood& request) {
  auto engine = NativeEngine::open(options);
  if (!engine) FAIL(engine.error().detail);
  RollingLoglikelihoodAnswer answer;
  const Request requests[] = {request};
  (*engine)->answer(requests, [&](std::size_t, Result<Response> response) {
    if (!response) FAIL(response.error().detail);
    answer = std::get<RollingLoglikelihoodAnswer>(response->answer);
    return true;
  });
  return answer;
}

double perplexity(const RollingLoglikelihoodAnswer& answer) { return std::exp(answer.nll_sum / answer.count_tokens); }

TEST_CASE("the perplexity of stories260K is the reference's", "[engines][oracle]") {
  if (!test::has_shared(kOracle)) return;
  EngineOptions options;
  options.model = test::shared_root() / (kOracle + "models/stories260K/stories260K.f32.gguf");
  options.threads = 2;
  const auto answer = roll(options, {text_of("stories_visible.txt"), 128});
  const double ppl = perplexity(answer);
  CHECK(ppl == Approx(3.9368).epsilon(1e-4));
  const double n = answer.count_tokens, mean = answer.nll_sum / n;
  CHECK(ppl * std::sqrt((answer.nll_squared_sum / n - mean * mean) / (n - 1)) == Approx(0.30972).epsilon(1e-3));
}

TEST_CASE("the perplexity of llama256 is the reference's, and so is a quantized file's divergence", "[engines][oracle]") {
  if (!test::has_shared(kOracle)) return;
  // The first 20 of the 86 windows: ppl_f32.txt says 34.6210 behind them.
  const std::string text = text_of("eval_visible.txt");
  EngineOptions options;
  options.model = test::unpacked(kOracle + "models/main/llama256.f32.gguf.zst");
  options.threads = 2;
  auto tokens = [&] {
    auto engine = NativeEngine::open(options).value();
    auto ids = engine->tokenizer().encode(text, false, false);
    ids.resize(20 * 256 - 1);
    return engine->tokenizer().decode(ids, false).substr(1);  // without the space that encoding puts in front
  }();
  const auto reference = std::filesystem::temp_directory_path() / ("quantfleet_ppl_" + std::to_string(::getpid()));
  options.reference_logits_out = reference;
  // The cut text may end in other tokens than the whole: one more is harmless, the windows are disjoint.
  const auto base = roll(options, {tokens + " and", 256});
  REQUIRE(base.count_tokens == 20 * 127);
  CHECK(perplexity(base) == Approx(34.6210).epsilon(1e-4));

  options.reference_logits_out.clear();
  options.reference_logits_in = reference;
  options.model = test::shared_root() / (kOracle + "models/main/gguf/llama256.Q4_K_M.gguf");
  const auto quantized = roll(options, {tokens + " and", 256});
  // ppl_Q4_K_M.txt, window 20. Another order of sums moves some 8-bit activation codes: token by token the logarithms then
  // differ by some 0.09 (KL divergence 4e-3), over 2540 tokens by 0.0018 on average.
  CHECK(perplexity(quantized) == Approx(35.0154).epsilon(4e-3));
  // Over all 86 windows the reference prints 0.0206 and 86.0 %; 20 windows are a sample of it.
  CHECK(quantized.divergence->kl_sum / quantized.count_tokens == Approx(0.0206).epsilon(0.15));
  CHECK(quantized.divergence->top1_agreement_sum / quantized.count_tokens == Approx(0.86).margin(0.03));
  std::filesystem::remove(reference);
}

}  // namespace
}  // namespace quantfleet
