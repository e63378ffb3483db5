// quantfleet bench: prefill and decode speed of one model on this machine, against what the machine can do.
// One repetition warms up and is not counted; the others are all reported. Shared machines drift by a factor within minutes, so
// every repetition is a share of ceilings measured just before and just after it, the larger of each. The larger of several
// measurements is more than any long one gets: a reading loop as long as the decoding shows how much more.
#include "backends/kernels/ceilings.h"
#include "backends/kernels/kv_pages.h"
#include "cli/bench_suite.h"
#include "cli/commands.h"
#include "cli/model_options.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <optional>

namespace quantfleet::cli {
namespace {

constexpr double kLongestLoop = 0.5;  // seconds

// Attention itself is left out (small for prompts much shorter than the width times the layers).
double multiply_adds_per_token(const ModelConfig& config) {
  const double C = config.width, D = config.head_width;
  const double F = config.experts > 0 ? config.experts_used * config.expert_feed_forward + config.shared_feed_forward : config.feed_forward;
  return config.layers * (C * D * (2.0 * config.heads + 2.0 * config.kv_heads) + 3 * C * F);
}

// Of a mixture of experts: what a token leaves unread.
double unread_bytes_per_token(const Model& model) {
  double bytes = 0;
  for (const LayerWeights& layer : model.layers)
    if (layer.mixture)
      for (const auto* experts : {&layer.mixture->gate_up, &layer.mixture->down})
        for (const StackedMatrix& expert : *experts)
          for (const StackedMatrix::Part& part : expert.parts) bytes += static_cast<double>(part.matrix.size_bytes());
  const ModelConfig& config = model.config;
  return config.experts > 0 ? bytes * (config.experts - config.experts_used) / config.experts : 0;
}

// A decode step reads every matrix once, whatever the batch, and of a mixture the experts of one token; of the embedding one row a text.
PassCost cost_of_pass(const Model& model, const EngineInfo& info) {
  return {multiply_adds_per_token(model.config), static_cast<double>(info.vocabulary_tokens) * model.config.width,
          static_cast<double>(info.weights_bytes - model.embedding->size_bytes()) - unread_bytes_per_token(model)};
}

// Keys and values that one text's decoding reads, on average over its steps: of each layer those of the positions that it sees.
double kv_bytes_per_token(const ModelConfig& config, KvKind kind, int prompt, int generated) {
  const double position_bytes = static_cast<double>(kv_head_bytes(kind, config.head_width)) / kPagePositions * config.kv_heads;
  double positions = 0;
  for (int step = 0; step < generated; ++step)
    for (int layer = 0; layer < config.layers; ++layer) {
      const int window = config.window_of(layer), seen = prompt + step + 1;
      positions += window > 0 ? std::min(window, seen) : seen;
    }
  return positions / generated * position_bytes;
}

// Joules that the CPU packages have used, by Linux' powercap interface; counters wrap at their range.
class EnergyCounter {
 public:
  EnergyCounter() {
    namespace fs = std::filesystem;
    std::error_code code;
    const fs::path root = "/sys/class/powercap";
    for (const auto& entry : fs::directory_iterator(root, code)) {
      const std::string name = entry.path().filename().string();
      // Packages only ("intel-rapl:0"): their parts ("intel-rapl:0:1") are inside them.
      if (!name.starts_with("intel-rapl:") || std::count(name.begin(), name.end(), ':') != 1) continue;
      std::uint64_t range = 0;
      std::ifstream(entry.path() / "max_energy_range_uj") >> range;
      const auto value = read(entry.path() / "energy_uj");
      if (value) counters_.push_back({entry.path() / "energy_uj", range, *value});
      else reason_ = fmt::format("{} is not readable", (entry.path() / "energy_uj").string());
    }
    if (counters_.empty() && reason_.empty()) reason_ = "this machine has no /sys/class/powercap/intel-rapl counters";
  }
  // Joules since the last call; none where nothing can be read.
  std::optional<double> joules() {
    if (counters_.empty()) return std::nullopt;
    double total = 0;
    for (Counter& counter : counters_) {
      const auto now = read(counter.path);
      if (!now) return std::nullopt;
      total += static_cast<double>(*now >= counter.latest ? *now - counter.latest : *now + counter.range - counter.latest) * 1e-6;
      counter.latest = *now;
    }
    return total;
  }
  const std::string& reason() const { return reason_; }

 private:
  struct Counter {
    std::filesystem::path path;
    std::uint64_t range, latest;
  };
  static std::optional<std::uint64_t> read(const std::filesystem::path& path) {
    std::uint64_t value = 0;
    std::ifstream file(path);
    if (file >> value) return value;
    return std::nullopt;
  }
  std::vector<Counter> counters_;
  std::string reason_;
};

}  // namespace

std::function<int()> add_bench(CLI::App& app) {
  struct Options {
    ModelOptions model;
    int prompt = 512, generated = 128, repetitions = 5, batch = 1;
    std::uint64_t seed = 1;
    bool json = false;
    bool suite = false;
    SuiteBench work;
  };
  auto options = std::make_shared<Options>();
  add_model_options(app, options->model);
  app.add_option("-p,--prompt-tokens", options->prompt, "tokens of a prompt")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  app.add_option("-n,--generated-tokens", options->generated, "tokens decoded behind it")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  app.add_option("-r,--repetitions", options->repetitions, "counted repetitions; one more warms up")->check(CLI::Range(1, 10000))->capture_default_str();
  app.add_option("--batch", options->batch, "texts side by side")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--seed", options->seed, "of the synthetic tokens")->capture_default_str();
  app.footer("-p and -n together may be above the model's context, for random tokens are timed, not understood: a warning says so. Learned positions\n"
             "end where they end, and --suite's items must fit: there it is an error.");
  app.add_flag("--json", options->json, "one JSON document on stdout");
  auto* suite = app.add_flag("--suite", options->suite,
                             "instead: items per second of a synthetic suite, all requests together against one request at a time; -p and -n are the generations'");
  app.add_option("--items", options->work.items, "multiple-choice items of --suite")->check(CLI::Range(1, 1 << 16))->capture_default_str()->needs(suite);
  app.add_option("--items-alone", options->work.items_alone, "of these, answered one request and one item at a time")->check(CLI::Range(1, 1 << 16))->capture_default_str()->needs(suite);
  app.add_option("--header-tokens", options->work.header_tokens, "tokens in front of every question")->check(CLI::Range(1, 1 << 20))->capture_default_str()->needs(suite);
  app.add_option("--sequences", options->work.sequences, "texts that --suite generates together")->check(CLI::Range(1, 1024))->capture_default_str()->needs(suite);
  return [options, &app] {
    auto engine = open_model(engine_options(options->model));
    if (options->suite) {
      if (app.count("-p") > 0) options->work.prompt_tokens = options->prompt;
      if (app.count("-n") > 0) options->work.generated_tokens = options->generated;
      if (app.count("-r") > 0) options->work.repetitions = options->repetitions;
      return bench_suite(*engine, options->work, cost_of_pass(engine->model(), engine->info()), options->json);
    }
    const EngineInfo& info = engine->info();
    if (const std::int64_t tokens = std::int64_t{options->prompt} + options->generated; tokens > info.context_tokens && !engine->model().config.learned_positions)
      fmt::print(stderr, "warning: {} tokens, but {} was made for {}: what is timed is the arithmetic\n", tokens, info.model_name, info.context_tokens);
    const PassCost cost = cost_of_pass(engine->model(), info);
    const double prompt_macs = cost.layer_macs + cost.output_macs / options->prompt;  // a token; the output layer works for the last one
    const bool int8 = info.activations == "int8";
    const double kv_bytes = kv_bytes_per_token(engine->model().config, find_kv_kind(info.kv).value(), options->prompt, options->generated);
    std::vector<double> prefill, decode, first, prefill_share, decode_peak_share, decode_share, weights_share, loop_share, int8_macs, f32_fmas, read_bytes;
    std::uint64_t peak_memory = 0;
    EnergyCounter energy;
    std::optional<double> joules;
    {
      ShareProgress progress("bench");
      std::optional<CeilingMeter> meter;
      Ceilings before;
      for (int repetition = -1; repetition < options->repetitions; ++repetition) {
        energy.joules();
        const auto sample = engine->time_batch(options->prompt, options->generated, options->batch, options->seed + static_cast<std::uint64_t>(repetition + 1));
        if (!sample) throw BadResult(sample.error());
        if (repetition < 0) {
          peak_memory = peak_memory_bytes();  // without the meter's own
          meter.emplace(info.threads);
          before = meter->measure();
        } else {
          if (const auto used = energy.joules()) joules = joules.value_or(0) + *used;
          prefill.push_back(sample->prompt_tokens / sample->prefill_seconds);
          decode.push_back(sample->generated_tokens / sample->decode_seconds);
          first.push_back(sample->first_token_ms);
          const Ceilings after = meter->measure(), ceilings = larger(before, after);
          const double loop = meter->read_for(std::min(sample->decode_seconds, kLongestLoop));
          before = meter->measure();
          loop_share.push_back(loop / larger(after, before).read_bytes_per_s);
          int8_macs.push_back(ceilings.int8_macs_per_s);
          f32_fmas.push_back(ceilings.f32_fmas_per_s);
          read_bytes.push_back(ceilings.read_bytes_per_s);
          const double peak = int8 ? ceilings.int8_macs_per_s : ceilings.f32_fmas_per_s;
          prefill_share.push_back(prefill.back() * prompt_macs / peak);
          decode_peak_share.push_back(decode.back() * (cost.layer_macs + cost.output_macs) / peak);
          const double steps_per_s = decode.back() / options->batch;
          decode_share.push_back(steps_per_s * (cost.bytes + options->batch * kv_bytes) / ceilings.read_bytes_per_s);
          weights_share.push_back(steps_per_s * cost.bytes / ceilings.read_bytes_per_s);
        }
        progress.show((repetition + 2.0) / (options->repetitions + 1));
      }
    }
    nlohmann::ordered_json document = {
        {"model", info.model_name}, {"sha256", info.model_sha256}, {"format", info.format}, {"kernels", info.kernels},
        {"activations", info.activations}, {"kv", info.kv}, {"lora", info.lora}, {"threads", info.threads}, {"batch", options->batch}, {"prompt_tokens", options->prompt},
        {"generated_tokens", options->generated}, {"repetitions", options->repetitions}, {"prefill_tokens_per_s", spread(prefill)},
        {"decode_tokens_per_s", spread(decode)}, {"first_token_ms", spread(first)["median"]}, {"peak_memory_bytes", peak_memory},
        {"weights_bytes", info.weights_bytes}, {"kv_cache_bytes", engine->kv_cache_bytes()}};
    if (joules) {
      document["energy_j"] = *joules;
      document["energy_j_per_token"] = *joules / (static_cast<double>(options->repetitions) * options->batch * (options->prompt + options->generated));
    } else {
      document["energy_j"] = nullptr;
      document["energy_reason"] = energy.reason();
    }
    const auto median = [](const std::vector<double>& samples) { return spread(samples)["median"].get<double>(); };
    document[int8 ? "int8_peak_share" : "f32_peak_share"] = median(prefill_share);
    if (!int8) {
      document["int8_peak_share"] = nullptr;
      document["int8_peak_reason"] = "f32 activations: f32_peak_share is the share of the F32 peak";
    }
    document["decode_peak_share"] = median(decode_peak_share);
    document["bandwidth_share"] = median(decode_share);
    document["weights_bandwidth_share"] = median(weights_share);
    document["read_loop_share"] = median(loop_share);
    document["share_samples"] = {{"prefill", prefill_share}, {"decode", decode_share}, {"read_loop", loop_share}};
    document["ceilings"] = {{"int8_macs_per_s", median(int8_macs)}, {"f32_fmas_per_s", median(f32_fmas)}, {"read_bytes_per_s", median(read_bytes)}};
    if (options->json) {
      fmt::print("{}\n", document.dump(2));
      return 0;
    }
    const auto line = [&](const char* what, const char* key) {
      const auto& s = document[key];
      fmt::print("{:<9} {:>10.1f} tokens/s   ({:.1f} to {:.1f} in {})\n", what, s["median"].get<double>(), s["min"].get<double>(),
                 s["max"].get<double>(), options->repetitions);
    };
    fmt::print("{} {}, {} activations, {} kernels, {} thread{}, batch {}\n", info.model_name, info.format, info.activations, info.kernels,
               info.threads, info.threads == 1 ? "" : "s", options->batch);
    line("prefill", "prefill_tokens_per_s");
    line("decode", "decode_tokens_per_s");
    fmt::print("prefill multiplies at {:.2f} of the {} peak, decode at {:.2f}\n", document[int8 ? "int8_peak_share" : "f32_peak_share"].get<double>(), int8 ? "int8" : "F32",
               document["decode_peak_share"].get<double>());
    fmt::print("decode reads at {:.2f} of the bandwidth (weights alone {:.2f}; a loop that does nothing else, as long: {:.2f})\n", document["bandwidth_share"].get<double>(),
               document["weights_bandwidth_share"].get<double>(), document["read_loop_share"].get<double>());
    fmt::print("first token {:.1f} ms; weights {:.1f} MB, KV cache {:.1f} MB, peak memory {:.1f} MB\n", document["first_token_ms"].get<double>(),
               static_cast<double>(info.weights_bytes) / 1e6, static_cast<double>(engine->kv_cache_bytes()) / 1e6,
               document["peak_memory_bytes"].get<double>() / 1e6);
    if (joules) fmt::print("energy {:.1f} J\n", *joules);
    else fmt::print("energy not measured: {}\n", energy.reason());
    return 0;
  };
}

}  // namespace quantfleet::cli
