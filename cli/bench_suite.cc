#include "cli/bench_suite.h"

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

}  // namespace

nlohmann::ordered_json spread(const std::vector<double>& samples) {
  std::vector<double> sorted = samples;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t middle = sorted.size() / 2;
  const double median = sorted.size() % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return {{"median", median}, {"min", sorted.front()}, {"max", sorted.back()}, {"samples", samples}};
}

int bench_suite(NativeEngine& engine, const SuiteBench& work, bool json) {
  const EngineInfo& info = engine.info();
  const std::vector<Request> choice = multiple_choice(engine.tokenizer(), work), texts = generations(engine.tokenizer(), work);
  const std::span<const Request> all(choice), alone = all.first(static_cast<std::size_t>(std::min(work.items_alone, work.items)));
  std::vector<double> items_alone, items_kept, items_together, items_times, one_text, texts_together, texts_times;
  Pass pass;
  std::int64_t tokens_together = 0, tokens_alone = 0;
  {
    ShareProgress progress("bench");
    const double steps = work.repetitions + 1;
    answer(engine, all.first(1), false);  // warms up
    for (int repetition = 0; repetition < work.repetitions; ++repetition) {
      pass = answer(engine, alone, false);
      tokens_alone = pass.tokens_read / static_cast<std::int64_t>(alone.size());
      items_alone.push_back(static_cast<double>(alone.size()) / pass.seconds);
      progress.show((repetition + 0.4) / steps);
      const std::size_t kept = std::min<std::size_t>(all.size(), 8);
      pass = answer(engine, all.first(kept), false, true);  // the header is there from the pass before
      items_kept.push_back(static_cast<double>(kept) / pass.seconds);
      progress.show((repetition + 0.5) / steps);
      pass = answer(engine, all, true);
      tokens_together = pass.tokens_read;
      items_together.push_back(static_cast<double>(all.size()) / pass.seconds);
      items_times.push_back(items_together.back() / items_alone.back());
      progress.show((repetition + 0.8) / steps);
      pass = answer(engine, std::span(texts).first(1), true);
      one_text.push_back(static_cast<double>(pass.generated_tokens) / pass.seconds);
      pass = answer(engine, texts, true);
      texts_together.push_back(static_cast<double>(pass.generated_tokens) / pass.seconds);
      texts_times.push_back(texts_together.back() / one_text.back());
      progress.show((repetition + 1.0) / steps);
    }
  }
  const nlohmann::ordered_json document = {
      {"model", info.model_name}, {"sha256", info.model_sha256}, {"format", info.format}, {"kernels", info.kernels},
      {"activations", info.activations}, {"kv", info.kv}, {"lora", info.lora}, {"threads", info.threads}, {"repetitions", work.repetitions},
      {"multiple_choice",
       {{"items", work.items}, {"choices", work.choices}, {"header_tokens", work.header_tokens}, {"tokens_of_one_item", tokens_alone},
        {"tokens_of_all_together", tokens_together}, {"one_at_a_time_items_per_s", spread(items_alone)},
        {"one_at_a_time_with_kept_header_items_per_s", spread(items_kept)}, {"together_items_per_s", spread(items_together)}, {"times", spread(items_times)}}},
      {"generation",
       {{"sequences", work.sequences}, {"prompt_tokens", work.prompt_tokens}, {"generated_tokens", work.generated_tokens},
        {"one_sequence_tokens_per_s", spread(one_text)}, {"together_tokens_per_s", spread(texts_together)}, {"times", spread(texts_times)}}},
      {"weights_bytes", info.weights_bytes}, {"kv_cache_bytes", engine.kv_cache_bytes()}, {"peak_memory_bytes", peak_memory_bytes()}};
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
  line(fmt::format("one request at a time, {} tokens each", tokens_alone), "multiple_choice", "one_at_a_time_items_per_s", "items/s");
  line("the same, its header kept", "multiple_choice", "one_at_a_time_with_kept_header_items_per_s", "items/s");
  line(fmt::format("{} together, {} tokens", work.items, tokens_together), "multiple_choice", "together_items_per_s", "items/s");
  line("together / one at a time", "multiple_choice", "times", "times");
  fmt::print("generation of {} tokens behind {}\n", work.generated_tokens, work.prompt_tokens);
  line("one sequence", "generation", "one_sequence_tokens_per_s", "tokens/s");
  line(fmt::format("{} sequences", work.sequences), "generation", "together_tokens_per_s", "tokens/s");
  line("together / one", "generation", "times", "times");
  fmt::print("weights {:.1f} MB, KV cache {:.1f} MB, peak memory {:.1f} MB\n", static_cast<double>(info.weights_bytes) / 1e6,
             static_cast<double>(engine.kv_cache_bytes()) / 1e6, static_cast<double>(peak_memory_bytes()) / 1e6);
  return 0;
}

}  // namespace quantfleet::cli
