#include "backends/calibration/adaptive_mix.h"

#include "backends/calibration/importance.h"
#include "backends/calibration/layer_walk.h"
#include "backends/calibration/replaced_tensors.h"
#include "backends/formats/catalog.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/kernels/elementary.h"
#include "backends/quantizers/gptq.h"
#include "backends/quantizers/mixes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace quantfleet {

namespace {

constexpr std::int64_t kSampleRows = 256;  // of a matrix, evenly spaced: what errors are measured on
constexpr std::int64_t kSampleRowsOfExpert = 16;  // at least
constexpr std::int64_t kMomentsBytes = std::int64_t{1} << 30;  // of experts at a time
constexpr double kLeastDivergence = 1e-9;  // nats: what a probe counts at least

// What multiplies matrices of two dimensions, experts' apart.
constexpr ProductInput kPlainInputs[] = {ProductInput::kQkv, ProductInput::kAttentionOutput, ProductInput::kGateUp, ProductInput::kDown, ProductInput::kSharedGateUp, ProductInput::kSharedDown};
constexpr ProductInput kExpertInputs[] = {ProductInput::kExpertGateUp, ProductInput::kExpertDown};

struct Matrix {
  const GgufTensor* tensor = nullptr;
  int layer = -1;                           // -1: the embedding; layers: the output matrix
  std::vector<const BlockFormat*> formats;  // that its rows fit
  std::vector<double> errors;               // of each, share of the outputs' squares
  double energy = 0;                        // the outputs' squares
  double sensitivity = 0;

  std::int64_t slices() const { return tensor->shape.size() > 2 ? tensor->shape[2] : 1; }  // one for each expert
};

class Budget {
 public:
  Budget(std::shared_ptr<const GgufFile> model, const BudgetOptions& options, const KernelFamily& family, std::vector<const BlockFormat*> candidates)
      : model_(std::move(model)), options_(options), family_(family), candidates_(std::move(candidates)), pool_(options.threads),
        gemm_(pool_, gemm_kernel_of(family)), walk_(family, pool_, gemm_) {}

  // Steps 1 and 2.
  Status measure(const CalibrationText& text, const BlockFormat& probe) {
    if (Status status = list_matrices(); !status) return status;
    if (Status status = measure_errors(text); !status) return status;
    return measure_sensitivities(text, probe);
  }

  const std::vector<Matrix>& matrices() const { return matrices_; }
  const ImportanceMatrix& importance() const { return importance_; }

 private:
  Status step() {
    ++steps_done_;
    if (options_.progress && !options_.progress(steps_done_, 2 * matrices_.size())) return Error{Code::kInterrupted, "interrupted; nothing was written"};
    return {};
  }

  Status list_matrices() {
    auto config = read_model_config(*model_);
    if (!config) return config.error();
    layers_ = config->layers;
    const Mix* any = find_mix("Q8_0");  // which tensors may be quantized at all
    auto formats = choose_formats(*model_, *any, false);
    if (!formats) return formats.error();
    std::map<std::string, int, std::less<>> layer_of;
    for (int layer = 0; layer < layers_; ++layer)
      for (const auto& inputs : {std::span<const ProductInput>(kPlainInputs), std::span<const ProductInput>(kExpertInputs)})
        for (const ProductInput input : inputs)
          for (const std::string& name : weights_behind(*model_, layer, input)) layer_of[name] = layer;
    for (const std::string& name : weights_behind(*model_, 0, ProductInput::kOutput)) layer_of[name] = layers_;
    layer_of.emplace("token_embd.weight", -1);
    for (std::size_t i = 0; i < model_->tensors().size(); ++i) {
      const GgufTensor& tensor = model_->tensors()[i];
      const auto found = layer_of.find(tensor.name);
      if ((*formats)[i] != &kQ8_0 || found == layer_of.end()) continue;
      Matrix& matrix = matrices_.emplace_back();
      matrix.tensor = &tensor;
      matrix.layer = found->second;
      for (const BlockFormat* format : candidates_)
        if (format->row_bytes(tensor.columns()) > 0) matrix.formats.push_back(format);
      matrix.errors.resize(matrix.formats.size());
    }
    if (config->experts > 0 && model_->find_tensor("blk.0.ffn_gate.0.weight"))
      return Error{Code::kUnsupported, "tensor blk.0.ffn_gate.0.weight: experts in tensors of their own, as old conversions wrote them, cannot be measured; one tensor for all is needed"};
    return {};
  }

  // Rows of a tensor as F32.
  std::vector<float> values_of(const GgufTensor& tensor, std::span<const std::int64_t> rows) const {
    const std::int64_t columns = tensor.columns();
    std::vector<float> values(rows.size() * static_cast<std::size_t>(columns));
    std::vector<std::byte> buffer;
    for (std::size_t i = 0; i < rows.size(); ++i)
      tensor.format->decode(model_->rows(tensor, rows[i], rows[i] + 1, buffer).data(), columns / tensor.format->values_per_block,
                            values.data() + static_cast<std::int64_t>(i) * columns);
    return values;
  }

  // What rows become in a format. importance: of the columns, or of each `rows_per_slice` rows' columns.
  std::vector<float> stored(const BlockFormat& format, const std::vector<float>& values, std::int64_t columns, const std::vector<float>& importance, std::int64_t rows_per_slice) {
    std::vector<float> decoded(values.size());
    pool_.parallel_for(static_cast<std::int64_t>(values.size()) / columns, 4, [&](std::int64_t begin, std::int64_t end, int) {
      std::vector<std::byte> blocks(static_cast<std::size_t>(format.row_bytes(columns)));
      for (std::int64_t row = begin; row < end; ++row) {
        encode_row(format, values.data() + row * columns, columns, importance.empty() ? nullptr : importance.data() + row / rows_per_slice * columns, blocks.data());
        format.decode(blocks.data(), columns / format.values_per_block, decoded.data() + row * columns);
      }
    });
    return decoded;
  }

  // Adds the errors of all formats on one slice. moments: empty for the embedding, whose rows are outputs themselves, and for an expert that
  // no token met, whose rows cost nothing.
  Status measure_slice(Matrix& matrix, const InputMoments& moments, std::int64_t slice) {
    const GgufTensor& tensor = *matrix.tensor;
    const std::int64_t columns = tensor.columns(), slice_rows = tensor.rows() / matrix.slices();
    const std::int64_t count = std::min(std::max(kSampleRows / matrix.slices(), kSampleRowsOfExpert), slice_rows);
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < count; ++i) rows.push_back(slice * slice_rows + i * slice_rows / count);
    const std::vector<float> values = values_of(tensor, rows);
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!std::isfinite(values[i]))
        return Error{Code::kNonFinite, fmt::format("tensor {}, row {}, column {}: {} where a finite weight is needed", tensor.name,
                                                   rows[i / static_cast<std::size_t>(columns)], i % static_cast<std::size_t>(columns), values[i])};
    const bool is_embedding = matrix.layer < 0;
    std::vector<float> importance;
    if (!is_embedding) {
      ImportanceMatrix::Entry& entry = importance_.entries[tensor.name];
      entry.calls = importance_.chunks;
      entry.tokens.push_back(moments.count_tokens);
      for (std::int64_t k = 0; k < columns; ++k)
        entry.mean_square.push_back(moments.columns == 0 ? 1.0f : moments.second[static_cast<std::size_t>(k * columns + k)] / static_cast<float>(moments.count_tokens));
      importance = prepared_importance({entry.mean_square.end() - columns, entry.mean_square.end()});
    }
    if (!is_embedding && moments.columns == 0) return {};
    const auto energy = [&](const std::vector<float>& x) {
      if (!is_embedding) return std::max(0.0, output_error(x, moments.second, count, columns, gemm_));
      double sum = 0;
      for (const float value : x) sum += static_cast<double>(value) * static_cast<double>(value);
      return sum;
    };
    matrix.energy += energy(values);
    for (std::size_t i = 0; i < matrix.formats.size(); ++i) {
      std::vector<float> difference = stored(*matrix.formats[i], values, columns, importance, count);
      for (std::size_t j = 0; j < values.size(); ++j) difference[j] -= values[j];
      matrix.errors[i] += energy(difference);
    }
    return {};
  }

  // Behind the last slice: errors become shares, and formats go that need an importance where there is none.
  Status finish_matrix(Matrix& matrix) {
    const std::string& name = matrix.tensor->name;
    const auto entry = importance_.entries.find(name);
    const bool has_importance = entry != importance_.entries.end() && !prepared_importance(entry->second.mean_square).empty();
    if (!has_importance && entry != importance_.entries.end()) importance_.entries.erase(entry);
    std::vector<const BlockFormat*> formats;
    std::vector<double> errors;
    for (std::size_t i = 0; i < matrix.formats.size(); ++i) {
      if (!has_importance && needs_importance(*matrix.formats[i], name)) continue;
      formats.push_back(matrix.formats[i]);
      errors.push_back(matrix.energy > 0 ? matrix.errors[i] / matrix.energy : 0);
    }
    matrix.formats = std::move(formats);
    matrix.errors = std::move(errors);
    if (matrix.formats.empty())
      return Error{Code::kBadShape, fmt::format("tensor {}: none of the candidate formats has blocks that fit rows of {}", name, matrix.tensor->columns())};
    return step();
  }

  Status measure_matrix(Matrix& matrix, const InputMoments& moments) {
    if (Status status = measure_slice(matrix, moments, 0); !status) return status;
    return finish_matrix(matrix);
  }

  // As many experts at a time as kMomentsBytes allows.
  Status measure_experts(int layer, ProductInput input) {
    std::vector<Matrix*> matrices;
    for (const std::string& name : weights_behind(*model_, layer, input))
      if (Matrix* matrix = find(name)) matrices.push_back(matrix);
    if (matrices.empty()) return {};
    const std::int64_t columns = matrices[0]->tensor->columns(), experts = matrices[0]->slices();
    const std::int64_t together = std::clamp<std::int64_t>(kMomentsBytes / (columns * columns * 4), 1, experts);
    for (std::int64_t first = 0; first < experts; first += together) {
      const std::int64_t count = std::min(together, experts - first);
      const auto moments = walk_.observe_experts(model_, layer, input, first, count, {});
      if (!moments) return moments.error();
      for (Matrix* matrix : matrices)
        for (std::int64_t e = 0; e < count; ++e)
          if (Status status = measure_slice(*matrix, (*moments)[static_cast<std::size_t>(e)], first + e); !status) return status;
    }
    for (Matrix* matrix : matrices)
      if (Status status = finish_matrix(*matrix); !status) return status;
    return {};
  }

  Matrix* find(const std::string& name) {
    for (Matrix& matrix : matrices_)
      if (matrix.tensor->name == name) return &matrix;
    return nullptr;
  }

  Status measure_errors(const CalibrationText& text) {
    importance_.chunks = static_cast<std::int32_t>(text.windows.size());
    importance_.dataset = text.name;
    if (Status status = walk_.start(model_, text); !status) return status;
    const auto measure_all = [&](const std::vector<std::string>& names, const InputMoments& moments) -> Status {
      for (const std::string& name : names)
        if (Matrix* matrix = find(name))
          if (Status status = measure_matrix(*matrix, moments); !status) return status;
      return {};
    };
    for (int layer = 0; layer < layers_; ++layer) {
      for (const ProductInput input : kPlainInputs) {
        const std::vector<std::string> names = weights_behind(*model_, layer, input);
        if (names.empty()) continue;
        auto moments = walk_.observe(model_, layer, input, {});
        if (!moments) return moments.error();
        if (Status status = measure_all(names, *moments); !status) return status;
      }
      for (const ProductInput input : kExpertInputs)
        if (Status status = measure_experts(layer, input); !status) return status;
      if (Status status = walk_.advance(model_, layer, {}); !status) return status;
    }
    auto moments = walk_.observe_output(model_);
    if (!moments) return moments.error();
    if (Status status = measure_all(weights_behind(*model_, 0, ProductInput::kOutput), *moments); !status) return status;
    Matrix* embedding = find("token_embd.weight");
    return embedding && embedding->layer < 0 ? measure_matrix(*embedding, {}) : Status();
  }

  // ---- step 2 ----

  // The residual stream of the probe windows in front of layer `first`, through the layers from there on: `changed` in place of the model
  // in its layer. Logits go to the sink.
  struct Probe {
    std::vector<std::shared_ptr<const Model>> layers;   // the model's own
    std::shared_ptr<const Model> head;
    std::vector<std::vector<float>> states;             // [layers + 1]: in front of each, all windows
    std::int64_t windows = 0, tokens = 0;
  };

  Status pass_layer(const std::shared_ptr<const Model>& layer, const Probe& probe, std::vector<float>& states) {
    Transformer transformer(layer, ActivationKind::kF32, pool_, 512);
    KvCache cache(layer->config);
    const std::size_t floats = states.size() / static_cast<std::size_t>(probe.windows);
    for (std::int64_t w = 0; w < probe.windows; ++w) {
      KvSequence sequence(cache);
      if (Status status = transformer.forward_states(sequence, std::span(states).subspan(static_cast<std::size_t>(w) * floats, floats), probe.tokens, {}); !status) return status;
    }
    return {};
  }

  // Log-probabilities behind the second half of every window's tokens, as perplexity scores them.
  Status pass_head(const std::shared_ptr<const Model>& head, const Probe& probe, std::vector<float> states, const std::function<void(std::span<float>)>& row) {
    Transformer transformer(head, ActivationKind::kF32, pool_, 128);
    ModelConfig one_layer = head->config;
    one_layer.layers = 1;
    KvCache cache(one_layer);
    const std::size_t floats = states.size() / static_cast<std::size_t>(probe.windows);
    std::vector<float> log_probabilities(static_cast<std::size_t>(head->config.vocabulary_tokens));
    for (std::int64_t w = 0; w < probe.windows; ++w) {
      KvSequence sequence(cache);
      const auto status = transformer.forward_states(
          sequence, std::span(states).subspan(static_cast<std::size_t>(w) * floats, floats), probe.tokens / 2, [&](std::size_t, std::int64_t, std::span<const float> logits) {
            log_softmax(family_, logits.data(), static_cast<std::int64_t>(logits.size()), log_probabilities.data());
            row(log_probabilities);
          });
      if (!status) return status;
    }
    return {};
  }

  Status measure_sensitivities(const CalibrationText& text, const BlockFormat& probe_format) {
    Probe probe;
    probe.windows = std::min<std::int64_t>(std::max<std::int64_t>(1, options_.probe_windows), static_cast<std::int64_t>(text.windows.size()));
    probe.tokens = static_cast<std::int64_t>(text.windows[0].size());
    for (int layer = 0; layer < layers_; ++layer) {
      auto model = load_layer(model_, layer, family_, pool_);
      if (!model) return model.error();
      probe.layers.push_back(std::move(*model));
    }
    auto head = load_head(model_, family_, pool_);
    if (!head) return head.error();
    probe.head = std::move(*head);
    const std::int64_t C = probe.head->config.width;
    // Windows evenly spaced over the sample.
    std::vector<std::int32_t> ids;
    for (std::int64_t w = 0; w < probe.windows; ++w) {
      const auto& window = text.windows[static_cast<std::size_t>(w * static_cast<std::int64_t>(text.windows.size()) / probe.windows)];
      ids.insert(ids.end(), window.begin(), window.end());
    }
    const auto embed = [&](const std::shared_ptr<const Model>& first) {
      std::vector<float> states(ids.size() * static_cast<std::size_t>(C));
      Transformer transformer(first, ActivationKind::kF32, pool_);
      const auto tokens = static_cast<std::size_t>(probe.tokens);
      for (std::size_t begin = 0; begin < ids.size(); begin += tokens)
        transformer.embed(std::span(ids).subspan(begin, tokens), 0, std::span(states).subspan(begin * static_cast<std::size_t>(C), tokens * static_cast<std::size_t>(C)));
      return states;
    };
    probe.states.push_back(embed(probe.layers[0]));
    for (int layer = 0; layer < layers_; ++layer) {
      probe.states.push_back(probe.states.back());
      if (Status status = pass_layer(probe.layers[static_cast<std::size_t>(layer)], probe, probe.states.back()); !status) return status;
    }
    std::vector<float> reference;
    if (Status status = pass_head(probe.head, probe, probe.states.back(), [&](std::span<float> row) { reference.insert(reference.end(), row.begin(), row.end()); }); !status)
      return status;

    for (Matrix& matrix : matrices_) {
      const GgufTensor& tensor = *matrix.tensor;
      // The candidate nearest to the probe's bits that fits this tensor.
      std::size_t nearest = 0;
      for (std::size_t i = 0; i < matrix.formats.size(); ++i)
        if (std::fabs(matrix.formats[i]->bits_per_value() - probe_format.bits_per_value()) < std::fabs(matrix.formats[nearest]->bits_per_value() - probe_format.bits_per_value())) nearest = i;
      std::vector<std::int64_t> rows(static_cast<std::size_t>(tensor.rows()));
      for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
      const auto entry = importance_.entries.find(tensor.name);
      const std::vector<float> importance = entry == importance_.entries.end() ? std::vector<float>() : prepared_importance(entry->second.mean_square);
      auto changed = std::make_shared<ReplacedTensors>(model_);
      changed->replace(tensor.name, 0, stored(*matrix.formats[nearest], values_of(tensor, rows), tensor.columns(), importance, tensor.rows() / matrix.slices()));

      std::vector<float> states = probe.states[static_cast<std::size_t>(std::clamp(matrix.layer, 0, layers_))];
      std::shared_ptr<const Model> changed_head = probe.head;
      int next = matrix.layer;
      const bool is_embedding = tensor.name == "token_embd.weight";  // where tied: the output matrix, too
      if (is_embedding) {
        auto model = load_layer(changed, 0, family_, pool_);
        if (!model) return model.error();
        states = embed(*model);
        next = 0;
      }
      if (matrix.layer == layers_) {
        auto model = load_head(changed, family_, pool_);
        if (!model) return model.error();
        changed_head = std::move(*model);
      }
      for (int layer = next; layer < layers_; ++layer) {
        std::shared_ptr<const Model> one = probe.layers[static_cast<std::size_t>(layer)];
        if (layer == matrix.layer) {
          auto model = load_layer(changed, layer, family_, pool_);
          if (!model) return model.error();
          one = std::move(*model);
        }
        if (Status status = pass_layer(one, probe, states); !status) return status;
      }
      double divergence = 0;
      std::size_t at = 0, count_rows = 0;
      const Status status = pass_head(changed_head, probe, std::move(states), [&](std::span<float> row) {
        double kl = 0;
        for (const float log_q : row) {
          const float log_p = reference[at++];
          const double p = static_cast<double>(elementary::exp(log_p));
          kl += p * (static_cast<double>(log_p) - static_cast<double>(log_q));
        }
        divergence += kl;
        ++count_rows;
      });
      if (!status) return status;
      divergence = std::max(kLeastDivergence, divergence / static_cast<double>(count_rows));
      const double error = matrix.errors[nearest];
      matrix.sensitivity = error > 0 ? divergence / error : 0;
      if (Status stepped = step(); !stepped) return stepped;
    }
    return {};
  }

  std::shared_ptr<const GgufFile> model_;
  const BudgetOptions& options_;
  const KernelFamily& family_;
  std::vector<const BlockFormat*> candidates_;
  ThreadPool pool_;
  GemmF32 gemm_;
  LayerWalk walk_;
  int layers_ = 0;
  std::vector<Matrix> matrices_;
  ImportanceMatrix importance_;
  std::uint64_t steps_done_ = 0;
};

}  // namespace

std::vector<std::string> default_candidates() {
  return {"IQ2_XXS", "IQ2_XS", "IQ2_S", "Q2_K", "IQ3_XXS", "IQ3_S", "Q3_K", "IQ4_XS", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "F16"};
}

Result<MixedReport> quantize_to_budget(const std::filesystem::path& in, const std::filesystem::path& out, const BudgetOptions& options) {
  const auto family = find_kernels(options.kernels);
  if (!family) return family.error();
  std::vector<const BlockFormat*> candidates;
  for (const std::string& name : options.formats.empty() ? default_candidates() : options.formats) {
    const BlockFormat* format = find_format(name);
    if (!format) return Error{Code::kUnknownFormat, fmt::format("no format of tensors is called {}; the usual candidates are {}", name, fmt::join(default_candidates(), ", "))};
    candidates.push_back(format);
  }
  auto model = open_model_file(in, options.rotation, options.threads);
  if (!model) return model.error();
  auto tokenizer = Tokenizer::from_gguf(**model);
  if (!tokenizer) return at(in.string(), tokenizer.error());
  MixedReport report;
  auto text = read_calibration_text(**tokenizer, options.text);
  if (!text) return text.error();
  report.text = std::move(*text);

  double values = 0;
  std::uint64_t bytes_now = 0;
  for (const GgufTensor& tensor : (*model)->tensors()) {
    values += static_cast<double>(tensor.count_values());
    bytes_now += tensor.size_bytes();
  }
  // What the file holds beside tensors: as much as now for GGUF; for a folder the tokenizer at most.
  const std::uint64_t beside = (*model)->version() > 0 && (*model)->size_bytes() > bytes_now ? (*model)->size_bytes() - bytes_now + 4096 : std::uint64_t{1} << 20;
  const std::uint64_t budget = options.file_bytes > 0 ? (options.file_bytes > beside ? options.file_bytes - beside : 0)
                                                      : static_cast<std::uint64_t>(options.bits_per_weight * values / 8);
  const double budget_bits = static_cast<double>(budget) * 8 / values;
  const BlockFormat* probe = candidates.front();
  for (const BlockFormat* format : candidates)
    if (std::fabs(format->bits_per_value() - budget_bits) < std::fabs(probe->bits_per_value() - budget_bits)) probe = format;
  report.probe_format = probe->name;

  Budget measured(*model, options, **family, candidates);
  if (Status status = measured.measure(report.text, *probe); !status) return at(in.string(), status.error());
  std::vector<std::vector<FormatOption>> choices;
  std::uint64_t fixed = bytes_now;
  for (const Matrix& matrix : measured.matrices()) {
    fixed -= matrix.tensor->size_bytes();
    std::vector<FormatOption> options_of;
    for (std::size_t i = 0; i < matrix.formats.size(); ++i)
      options_of.push_back({static_cast<std::uint64_t>(matrix.formats[i]->row_bytes(matrix.tensor->columns()) * matrix.tensor->rows()), matrix.sensitivity * matrix.errors[i]});
    choices.push_back(std::move(options_of));
  }
  const std::vector<std::size_t> chosen = budget > fixed ? allocate(choices, budget - fixed) : std::vector<std::size_t>();
  if (chosen.empty() && !choices.empty())
  {
    std::uint64_t smallest = fixed;
    for (const std::vector<FormatOption>& options_of : choices)
      smallest += std::min_element(options_of.begin(), options_of.end(), [](const FormatOption& a, const FormatOption& b) { return a.bytes < b.bytes; })->bytes;
    const std::string asked = options.file_bytes > 0 ? fmt::format("{} bytes", options.file_bytes) : fmt::format("{} bits per weight", options.bits_per_weight);
    return Error{Code::kBadValue, fmt::format("{}: a budget of {} is too small; the least that the candidates make is {:.4f} bits per weight, {} bytes of file",
                                              in.string(), asked, std::ceil(static_cast<double>(smallest) * 8 / values * 1e4) / 1e4, smallest + beside)};
  }

  QuantizeOptions settings;
  settings.format = "mixed";
  settings.rotation = options.rotation;
  settings.threads = options.threads;
  settings.program_version = options.program_version;
  settings.importance = &measured.importance();
  settings.notes = {{"quantfleet.quantizer", "adaptive_mix"}, {"quantfleet.calibration_text", report.text.name}, {"quantfleet.calibration_sha256", report.text.sha256},
                    {"quantfleet.calibration_seed", std::to_string(options.text.seed)}, {"quantfleet.calibration_windows", std::to_string(report.text.windows.size())},
                    {"quantfleet.calibration_context", std::to_string(options.text.context_tokens)}};
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const Matrix& matrix = measured.matrices()[i];
    report.tensors.push_back({matrix.tensor->name, matrix.formats[chosen[i]], matrix.errors[chosen[i]], matrix.sensitivity});
    report.predicted_divergence += report.tensors.back().divergence();
    settings.formats.emplace(matrix.tensor->name, matrix.formats[chosen[i]]);
  }
  auto written = quantize_model(in, out, settings);
  if (!written) return written.error();
  report.written = std::move(*written);
  return report;
}

}  // namespace quantfleet
