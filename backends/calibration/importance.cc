#include "backends/calibration/importance.h"

#include "backends/huggingface/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

namespace quantfleet {

namespace {

constexpr std::int64_t kRowsTogether = 512;

// Sums of squares per column, for each input of each layer and expert.
class SquareSums final : public InputObserver {
 public:
  struct Sums {
    std::vector<double> squares;
    std::int64_t count_tokens = 0;
  };
  explicit SquareSums(ThreadPool& pool) : pool_(pool) {}

  bool observe(const ObservedInput& input) override {
    std::vector<Sums>& experts = by_input[{input.layer, input.product}];
    if (static_cast<std::int64_t>(experts.size()) <= input.expert) experts.resize(static_cast<std::size_t>(input.expert) + 1);
    Sums& sums = experts[static_cast<std::size_t>(input.expert)];
    sums.squares.resize(static_cast<std::size_t>(input.columns));
    sums.count_tokens += input.rows;
    // Threads share columns; a column is one chain over the tokens.
    pool_.parallel_for(input.columns, 64, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t row = 0; row < input.rows; ++row)
        for (std::int64_t k = begin; k < end; ++k) {
          const double value = static_cast<double>(input.x[row * input.stride + k]);
          sums.squares[static_cast<std::size_t>(k)] += value * value;
        }
    });
    return input.product != ProductInput::kOutput;  // nobody needs the logits
  }

  std::map<std::pair<int, ProductInput>, std::vector<Sums>> by_input;  // one per expert

 private:
  ThreadPool& pool_;
};

// The entry of the matrix that slices first .. last-1 of `experts` make: mean squares, 1 for an expert that no token met.
Result<ImportanceMatrix::Entry> make_entry(const std::string& name, const SquareSums::Sums* first, const SquareSums::Sums* last, std::int64_t columns, std::int32_t calls) {
  ImportanceMatrix::Entry entry;
  entry.calls = calls;
  for (const SquareSums::Sums* sums = first; sums != last; ++sums) {
    entry.tokens.push_back(sums->count_tokens);
    for (std::int64_t k = 0; k < columns; ++k) {
      entry.mean_square.push_back(sums->count_tokens == 0 ? 1.0f : static_cast<float>(sums->squares[static_cast<std::size_t>(k)] / static_cast<double>(sums->count_tokens)));
      if (!std::isfinite(entry.mean_square.back())) return Error{Code::kNonFinite, fmt::format("the inputs of tensor {} are not finite numbers", name)};
    }
  }
  return entry;
}

}  // namespace

std::vector<std::string> weights_behind(const GgufFile& file, int layer, ProductInput input) {
  std::vector<std::string> names;
  const auto add = [&](std::string name) {
    if (file.find_tensor(name)) names.push_back(std::move(name));
  };
  const auto add_layer = [&](std::initializer_list<std::string_view> parts) {
    for (const std::string_view part : parts) add(fmt::format("blk.{}.{}.weight", layer, part));
  };
  switch (input) {
    case ProductInput::kQkv: add_layer({"attn_qkv", "attn_q", "attn_k", "attn_v"}); break;
    case ProductInput::kAttentionOutput: add_layer({"attn_output"}); break;
    case ProductInput::kGateUp: add_layer({"ffn_gate", "ffn_up"}); break;
    case ProductInput::kDown: add_layer({"ffn_down"}); break;
    case ProductInput::kExpertGateUp: add_layer({"ffn_gate_exps", "ffn_up_exps"}); break;
    case ProductInput::kExpertDown: add_layer({"ffn_down_exps"}); break;
    case ProductInput::kSharedGateUp: add_layer({"ffn_gate_shexp", "ffn_up_shexp"}); break;
    case ProductInput::kSharedDown: add_layer({"ffn_down_shexp"}); break;
    case ProductInput::kOutput: add(file.find_tensor("output.weight") ? "output.weight" : "token_embd.weight"); break;
  }
  return names;
}

Status observe_windows(Transformer& transformer, std::span<const std::vector<std::int32_t>> windows, bool with_output, InputObserver& observer,
                       const std::function<bool(std::uint64_t, std::uint64_t)>& progress) {
  if (windows.empty()) return {};
  KvCache cache(transformer.model().config);
  const auto tokens = static_cast<std::int64_t>(windows[0].size());
  const auto together = static_cast<std::size_t>(std::max<std::int64_t>(1, kRowsTogether / tokens));
  transformer.set_observer(&observer);
  Status status;
  for (std::size_t begin = 0; begin < windows.size() && status; begin += together) {
    const std::size_t end = std::min(windows.size(), begin + together);
    std::vector<KvSequence> sequences(end - begin, KvSequence(cache));
    std::vector<Transformer::Segment> segments;
    for (std::size_t w = begin; w < end; ++w) segments.push_back({&sequences[w - begin], windows[w], with_output ? 0 : tokens});
    status = transformer.forward(segments, [](std::size_t, std::int64_t, std::span<const float>) {});
    const auto per_window = static_cast<std::uint64_t>(tokens);
    if (status && progress && !progress(end * per_window, windows.size() * per_window))
      status = Error{Code::kInterrupted, fmt::format("interrupted behind window {} of {}; nothing was written", end, windows.size())};
  }
  transformer.set_observer(nullptr);
  return status;
}

Result<ImportanceReport> collect_importance(const ImportanceOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const auto family = find_kernels(options.kernels);
  if (!family) return family.error();
  auto file = open_model_file(options.model);
  if (!file) return file.error();
  auto tokenizer = Tokenizer::from_gguf(**file);
  if (!tokenizer) return at(options.model.string(), tokenizer.error());
  auto text = read_calibration_text(**tokenizer, options.text);
  if (!text) return text.error();
  ThreadPool pool(options.threads);
  auto model = load_model(*file, **family, pool, true);
  if (!model) return model.error();
  const ModelConfig& config = (*model)->config;
  if (config.learned_positions && options.text.context_tokens > config.context_tokens)
    return Error{Code::kTooLarge, fmt::format("windows of {} tokens; {} has learned {} positions", options.text.context_tokens, options.model.string(), config.context_tokens)};

  Transformer transformer(*model, ActivationKind::kF32, pool, kRowsTogether);
  SquareSums sums(pool);
  if (Status status = observe_windows(transformer, text->windows, options.with_output, sums, options.progress); !status) return status.error();

  ImportanceReport report;
  report.model_name = config.name;
  report.kernels = (*family)->name;
  report.matrix.chunks = static_cast<std::int32_t>(text->windows.size());
  report.matrix.dataset = text->name;
  for (auto& [key, experts] : sums.by_input) {
    const auto [layer, product] = key;
    const bool is_expert = product == ProductInput::kExpertGateUp || product == ProductInput::kExpertDown;
    if (is_expert) experts.resize(static_cast<std::size_t>(config.experts));
    for (const std::string& name : weights_behind(**file, layer, product)) {
      auto entry = make_entry(name, experts.data(), experts.data() + experts.size(), (*file)->find_tensor(name)->columns(), report.matrix.chunks);
      if (!entry) return entry.error();
      report.matrix.entries.emplace(name, std::move(*entry));
    }
    // Old files have three tensors for each expert.
    for (std::size_t e = 0; is_expert && e < experts.size(); ++e)
      for (const char* part : {"ffn_gate", "ffn_up", "ffn_down"}) {
        const std::string name = fmt::format("blk.{}.{}.{}.weight", layer, part, e);
        const GgufTensor* tensor = (*file)->find_tensor(name);
        if (!tensor || (product == ProductInput::kExpertDown) != (std::string_view(part) == "ffn_down")) continue;
        auto entry = make_entry(name, &experts[e], &experts[e] + 1, tensor->columns(), report.matrix.chunks);
        if (!entry) return entry.error();
        report.matrix.entries.emplace(name, std::move(*entry));
      }
  }
  report.text = std::move(*text);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

}  // namespace quantfleet
