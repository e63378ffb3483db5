#include "cli/bench_suite.h"

#include "backends/kernels/ceilings.h"
#include "backends/models/sampler.h"
#include "cli/model_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <span>

namespace quantfleet::cli {
namespace {

// A text of a seed that has `tokens` tokens: words, letter by letter.
std::string text_of(const Tokenizer& tokenizer, int tokens, std::uint64_t seed) {
  static constexpr std::array<std::string_view, 32> kWords = {
      "river", "green", "seven", "above", "music", "stone", "paper", "cloud", "sugar", "train", "light", "under", "field", "glass", "north", "bread",
      "small", "quick", "round", "early", "water", "horse", "table", "voice", "metal", "grass", "ocean", "dream", "brown", "night", "chair", "plant"};
  std::string text;
  for (std::uint64_t step = 0;; ++step)
    for (const char letter : std::string(kWords[random_bits(seed, step) % kWords.size()]) + " ") {
      if (static_cast<int>(tokenizer.encode(text, false, false).size()) >= tokens && letter != ' ') return text;
      text += letter;
    }
}

std::vector<Request> multiple_choice(const Tokenizer& tokenizer, const SuiteBench& work) {
  std::string header;
  for (int example = 0; example < 5 && work.header_tokens >= 200; ++example)
    header += fmt::format("{}\nA: {}\n\n", text_of(tokenizer, work.header_tokens / 5 - 16, 900 + static_cast<std::uint64_t>(example)),
                          text_of(tokenizer, work.choice_tokens, 950 + static_cast<std::uint64_t>(example)));
  while (static_cast<int>(tokenizer.encode(header, false, false).size()) < work.header_tokens) header.insert(0, "-");
  std::vector<Request> requests;
  for (int item = 0; item < work.items; ++item) {
    const auto seed = static_cast<std::uint64_t>(1000 + item);
    Loglikelihood request{header + text_of(tokenizer, work.question_tokens, seed) + "\nA:", {}};
    for (int choice = 0; choice < work.choices; ++choice)
      request.continuations.push_back(" " + text_of(tokenizer, work.choice_tokens - 1, seed * 10 + static_cast<std::uint64_t>(choice)));
    requests.push_back(std::move(request));
  }
  return requests;
}

// Cut or ended early, a request would be another one, and the ratio of nothing. Throws BadResult.
void check_context(const NativeEngine& engine, std::span<const Request> choice, const SuiteBench& work) {
  int longest = 0;
  for (const Request& item : choice) {
    const auto& all = std::get<Loglikelihood>(item);
    for (const std::string& continuation : all.continuations)
      longest = std::max(longest, static_cast<int>(engine.tokenizer().encode(all.context + continuation, true, false).size()));
  }
  const EngineInfo& info = engine.info();
  if (longest > info.context_tokens)
    throw BadResult({Code::kTooLarge, fmt::format("--header-tokens {}: gives items of {} tokens; {} has a context of {}", work.header_tokens, longest, info.model_name, info.context_tokens)});
  if (const int whole = work.prompt_tokens + work.generated_tokens; whole > info.context_tokens)
    throw BadResult({Code::kTooLarge, fmt::format("-p {} -n {}: {} tokens; {} has a context of {}", work.prompt_tokens, work.generated_tokens, whole, info.model_name, info.context_tokens)});
}

// As harnesses send them: a request for each pair of context and continuation.
std::vector<Request> one_by_one(std::span<const Request> items) {
  std::vector<Request> requests;
  for (const Request& item : items) {
    const auto& all = std::get<Loglikelihood>(item);
    for (const std::string& continuation : all.continuations) requests.push_back(Loglikelihood{all.context, {continuation}});
  }
  return requests;
}

std::vector<Request> generations(const Tokenizer& tokenizer, const SuiteBench& work) {
  std::vector<Request> requests;
  for (int sequence = 0; sequence < work.sequences; ++sequence)
    requests.push_back(Generate{text_of(tokenizer, work.prompt_tokens, 100 + static_cast<std::uint64_t>(sequence)), {}, work.generated_tokens, 0, 0});
  return requests;
}

struct Pass {
  double seconds = 0;
  std::int64_t tokens_read = 0, prompt_tokens = 0, generated_tokens = 0;
};

// Answers from a cold cache, all in one call or in a call each. Throws BadResult.
Pass answer(NativeEngine& engine, std::span<const Request> requests, bool together, bool keeps_prefix = false) {
  Pass pass;
  std::optional<Error> failed;
  const auto done = [&](std::size_t, Result<Response> response) {
    if (!response) failed = response.error();
    else pass.prompt_tokens += response->prompt_tokens, pass.generated_tokens += response->generated_tokens;
    return !failed;
  };
  if (!keeps_prefix) engine.forget();
  const std::int64_t before = engine.tokens_read();
  const auto start = std::chrono::steady_clock::now();
  if (together) engine.answer(requests, done);
  for (std::size_t i = 0; i < requests.size() && !together && !failed; ++i) {
    if (!keeps_prefix) engine.forget();
    engine.answer(requests.subspan(i, 1), done);
  }
  pass.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  pass.tokens_read = engine.tokens_read() - before;
  if (failed) throw BadResult(*failed);
  return pass;
}

// How many times the tokens per second of one sequence all together can have at most, where the machine multiplies and reads at its
// ceilings: prompts and every further sequence cost multiplications, a step alone reads the weights.
double times_possible(const SuiteBench& work, const PassCost& cost, double macs_per_s, double bytes_per_s) {
  const double prompt = work.prompt_tokens * cost.layer_macs / macs_per_s;
  const double step = cost.bytes / bytes_per_s, token = (cost.layer_macs + cost.output_macs) / macs_per_s, n = work.generated_tokens, S = work.sequences;
  return S * (prompt + n * std::max(step, token)) / (S * prompt + n * std::max(step, S * token));
}

}  // namespace

nlohmann::ordered_json spread(const std::vector<double>& samples) {
  std::vector<double> sorted = samples;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t middle = sorted.size() / 2;
  const double median = sorted.size() % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return {{"median", median}, {"min", sorted.front()}, {"max", sorted.back()}, {"samples", samples}};
}

int bench_suite(NativeEngine& engine, const SuiteBench& work, const PassCost& cost, bool json) {
  const EngineInfo& info = engine.info();
  const std::vector<Request> choice = multiple_choice(engine.tokenizer(), work), texts = generations(engine.tokenizer(), work);
  check_context(engine, choice, work);
  const std::span<const Request> all(choice), alone = all.first(static_cast<std::size_t>(std::min(work.items_alone, work.items)));
  const std::vector<Request> single = one_by_one(alone);
  const auto count_alone = static_cast<double>(alone.size());
  std::vector<double> requests_alone, items_alone, items_kept, items_together, items_times, one_text, texts_together, texts_times;
  Pass pass;
  std::int64_t tokens_request = 0, tokens_item = 0, tokens_together = 0;
  std::uint64_t peak_memory = 0;
  Ceilings ceilings;
  {
    ShareProgress progress("bench");
    std::optional<CeilingMeter> meter;
    answer(engine, all.first(1), false);  // warms up
    for (int repetition = 0; repetition < work.repetitions; ++repetition) {
      const auto show = [&](double part) { progress.show((repetition + part) / work.repetitions); };
      pass = answer(engine, single, false);
      tokens_request = pass.tokens_read / static_cast<std::int64_t>(single.size());
      requests_alone.push_back(count_alone / pass.seconds);
      show(0.4);
      pass = answer(engine, alone, false);
      tokens_item = pass.tokens_read / static_cast<std::int64_t>(alone.size());
      items_alone.push_back(count_alone / pass.seconds);
      show(0.5);
      const std::size_t kept = std::min<std::size_t>(all.size(), 8);
      pass = answer(engine, all.first(kept), false, true);  // the header is there from the pass before
      items_kept.push_back(static_cast<double>(kept) / pass.seconds);
      show(0.6);
      pass = answer(engine, all, true);
      tokens_together = pass.tokens_read;
      items_together.push_back(static_cast<double>(all.size()) / pass.seconds);
      items_times.push_back(items_together.back() / requests_alone.back());
      show(0.8);
      pass = answer(engine, std::span(texts).first(1), true);
      one_text.push_back(static_cast<double>(pass.generated_tokens) / pass.seconds);
      pass = answer(engine, texts, true);
      texts_together.push_back(static_cast<double>(pass.generated_tokens) / pass.seconds);
      texts_times.push_back(texts_together.back() / one_text.back());
      if (!meter) {
        peak_memory = peak_memory_bytes();  // without the meter's own
        meter.emplace(info.threads);
      }
      for (int i = 0; i < 3; ++i) ceilings = larger(ceilings, meter->measure());
      show(1.0);
    }
  }
  const double possible = times_possible(work, cost, info.activations == "int8" ? ceilings.int8_macs_per_s : ceilings.f32_fmas_per_s, ceilings.read_bytes_per_s);
  const nlohmann::ordered_json document = {
      {"model", info.model_name}, {"sha256", info.model_sha256}, {"format", info.format}, {"kernels", info.kernels},
      {"activations", info.activations}, {"kv", info.kv}, {"lora", info.lora}, {"threads", info.threads}, {"repetitions", work.repetitions},
      {"multiple_choice",
       {{"items", work.items}, {"choices", work.choices}, {"header_tokens", work.header_tokens}, {"tokens_of_one_request", tokens_request},
        {"tokens_of_one_item", tokens_item}, {"tokens_of_all_together", tokens_together},
        {"one_request_at_a_time_items_per_s", spread(requests_alone)}, {"one_item_at_a_time_items_per_s", spread(items_alone)},
        {"one_item_at_a_time_with_kept_header_items_per_s", spread(items_kept)}, {"together_items_per_s", spread(items_together)}, {"times", spread(items_times)}}},
      {"generation",
       {{"sequences", work.sequences}, {"prompt_tokens", work.prompt_tokens}, {"generated_tokens", work.generated_tokens},
        {"one_sequence_tokens_per_s", spread(one_text)}, {"together_tokens_per_s", spread(texts_together)}, {"times", spread(texts_times)},
        {"times_possible", possible}}},
      {"ceilings", {{"int8_macs_per_s", ceilings.int8_macs_per_s}, {"f32_fmas_per_s", ceilings.f32_fmas_per_s}, {"read_bytes_per_s", ceilings.read_bytes_per_s}}},
      {"weights_bytes", info.weights_bytes}, {"kv_cache_bytes", engine.kv_cache_bytes()}, {"peak_memory_bytes", peak_memory}};
  if (json) {
    fmt::print("{}\n", document.dump(2));
    return 0;
  }
  fmt::print("{} {}, {} activations, {} KV cache, {} kernels, {} threads\n", info.model_name, info.format, info.activations, info.kv, info.kernels,
             info.threads);
  const auto line = [&](std::string_view what, const char* part, const char* key, std::string_view unit) {
    const auto& s = document[part][key];
    fmt::print("  {:<42} {:>9.2f} {}   ({:.2f} to {:.2f})\n", what, s["median"].get<double>(), unit, s["min"].get<double>(), s["max"].get<double>());
  };
  fmt::print("multiple choice, {} choices, a header of {} tokens in front\n", work.choices, work.header_tokens);
  line(fmt::format("one request at a time, {} tokens a choice", tokens_request), "multiple_choice", "one_request_at_a_time_items_per_s", "items/s");
  line(fmt::format("one item at a time, {} tokens each", tokens_item), "multiple_choice", "one_item_at_a_time_items_per_s", "items/s");
  line("the same, its header kept", "multiple_choice", "one_item_at_a_time_with_kept_header_items_per_s", "items/s");
  line(fmt::format("{} items together, {} tokens", work.items, tokens_together), "multiple_choice", "together_items_per_s", "items/s");
  line("together / one request at a time", "multiple_choice", "times", "times");
  fmt::print("generation of {} tokens behind {}\n", work.generated_tokens, work.prompt_tokens);
  line("one sequence", "generation", "one_sequence_tokens_per_s", "tokens/s");
  line(fmt::format("{} sequences", work.sequences), "generation", "together_tokens_per_s", "tokens/s");
  line("together / one", "generation", "times", "times");
  fmt::print("  {:<42} {:>9.2f} times   ({:.0f} G {}/s, {:.1f} GB/s read)\n", "what this machine's ceilings allow", possible,
             (info.activations == "int8" ? ceilings.int8_macs_per_s : ceilings.f32_fmas_per_s) * 1e-9, info.activations == "int8" ? "int8 MAC" : "F32 fma",
             ceilings.read_bytes_per_s * 1e-9);
  fmt::print("weights {:.1f} MB, KV cache {:.1f} MB, peak memory {:.1f} MB\n", static_cast<double>(info.weights_bytes) / 1e6,
             static_cast<double>(engine.kv_cache_bytes()) / 1e6, static_cast<double>(peak_memory) / 1e6);
  return 0;
}

}  // namespace quantfleet::cli
