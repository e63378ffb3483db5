#include "backends/calibration/layer_walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quantfleet {

namespace {

constexpr std::int64_t kRowsTogether = 512;
constexpr std::int64_t kBlockRows = 512;  // of the second moments: only what is right of a block's diagonal is computed

class Moments final : public InputObserver {
 public:
  Moments(ProductInput wanted, std::int64_t first_expert, std::int64_t experts, ThreadPool& pool, GemmF32& gemm)
      : of_experts(static_cast<std::size_t>(experts)), wanted_(wanted), first_expert_(first_expert), pool_(pool), gemm_(gemm) {}

  bool observe(const ObservedInput& input) override {
    if (input.product != wanted_) return true;
    const std::int64_t expert = input.expert - first_expert_;
    if (expert < 0 || expert >= static_cast<std::int64_t>(of_experts.size())) return true;
    InputMoments& sums = of_experts[static_cast<std::size_t>(expert)];
    const float* const x = input.x;
    const std::int64_t rows = input.rows, columns = input.columns, stride = input.stride;
    if (sums.columns == 0) {
      sums.columns = columns;
      sums.second.resize(static_cast<std::size_t>(columns * columns));
      sums.mean_magnitude.resize(static_cast<std::size_t>(columns));
      sums.max_magnitude.resize(static_cast<std::size_t>(columns));
    }
    sums.count_tokens += rows;
    for (std::int64_t begin = 0; begin < columns; begin += kBlockRows) {
      const std::int64_t count = std::min(kBlockRows, columns - begin);
      gemm_.run({x + begin, 1, stride}, {x + begin, stride, 1}, count, columns - begin, rows, &sums.second[static_cast<std::size_t>(begin * columns + begin)], columns, true);
    }
    pool_.parallel_for(columns, 64, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t k = begin; k < end; ++k) {
          const float magnitude = std::fabs(x[row * stride + k]);
          sums.mean_magnitude[static_cast<std::size_t>(k)] += static_cast<double>(magnitude);
          sums.max_magnitude[static_cast<std::size_t>(k)] = std::max(sums.max_magnitude[static_cast<std::size_t>(k)], magnitude);
        }
    });
    return false;
  }

  std::vector<InputMoments> of_experts;  // one where the product is no expert's

 private:
  ProductInput wanted_;
  std::int64_t first_expert_;
  ThreadPool& pool_;
  GemmF32& gemm_;
};

}  // namespace

const GemmF32Kernel& gemm_kernel_of(const KernelFamily& family) {
  const GemmF32Kernel* same = find_gemm_f32_kernel(family.name);
  return same ? *same : *find_gemm_f32_kernel("auto");
}

Status LayerWalk::start(std::shared_ptr<const GgufFile> file, const CalibrationText& text) {
  auto model = load_layer(file, 0, family_, pool_);
  if (!model) return model.error();
  auto config = read_model_config(*file);
  if (!config) return config.error();
  config_ = *config;
  count_windows_ = static_cast<std::int64_t>(text.windows.size());
  window_tokens_ = static_cast<std::int64_t>(text.windows[0].size());
  if (config_.learned_positions && window_tokens_ > config_.context_tokens)
    return Error{Code::kTooLarge, fmt::format("windows of {} tokens; {} has learned {} positions", window_tokens_, file->path().string(), config_.context_tokens)};
  states_.resize(static_cast<std::size_t>(count_windows_ * window_tokens_ * config_.width));
  Transformer transformer(*model, ActivationKind::kF32, pool_);
  const std::size_t window_floats = states_.size() / text.windows.size();
  for (std::size_t window = 0; window < text.windows.size(); ++window)
    transformer.embed(text.windows[window], 0, std::span(states_).subspan(window * window_floats, window_floats));
  return {};
}

Status LayerWalk::run(const std::shared_ptr<const Model>& model, bool to_output, InputObserver* observer, const Progress& progress) {
  Transformer transformer(model, ActivationKind::kF32, pool_, kRowsTogether);
  transformer.set_observer(observer);
  ModelConfig one_layer = model->config;
  one_layer.layers = 1;  // of a head, which has none, too
  KvCache cache(one_layer);
  const auto window_floats = static_cast<std::size_t>(window_tokens_ * config_.width);
  std::vector<float> looked_at;
  for (std::int64_t window = 0; window < count_windows_; ++window) {
    KvSequence sequence(cache);
    std::span<float> states = std::span(states_).subspan(static_cast<std::size_t>(window) * window_floats, window_floats);
    if (observer) {  // looks only: behind products of experts the layer goes on
      looked_at.assign(states.begin(), states.end());
      states = looked_at;
    }
    if (Status status = transformer.forward_states(sequence, states, to_output ? 0 : window_tokens_, {}); !status) return status;
    if (progress && !progress(static_cast<double>(window + 1) / static_cast<double>(count_windows_)))
      return Error{Code::kInterrupted, "interrupted; nothing was written"};
  }
  return {};
}

namespace {

// Means, and both triangles of the second moments.
Status finish(InputMoments& sums, std::string_view place) {
  for (std::int64_t i = 0; i < sums.columns; ++i) {
    sums.mean_magnitude[static_cast<std::size_t>(i)] /= static_cast<double>(sums.count_tokens);
    for (std::int64_t j = 0; j < i; ++j) sums.second[static_cast<std::size_t>(i * sums.columns + j)] = sums.second[static_cast<std::size_t>(j * sums.columns + i)];
    if (!std::isfinite(sums.second[static_cast<std::size_t>(i * sums.columns + i)]))
      return Error{Code::kNonFinite, fmt::format("{}: the inputs of a matrix product are not finite numbers (column {})", place, i)};
  }
  return {};
}

}  // namespace

Result<InputMoments> LayerWalk::observe(std::shared_ptr<const GgufFile> file, int layer, ProductInput input, const Progress& progress) {
  auto moments = observe_experts(std::move(file), layer, input, 0, 1, progress);
  if (!moments) return moments.error();
  return std::move(moments->front());
}

Result<std::vector<InputMoments>> LayerWalk::observe_experts(std::shared_ptr<const GgufFile> file, int layer, ProductInput input, std::int64_t first, std::int64_t count,
                                                             const Progress& progress) {
  auto model = load_layer(std::move(file), layer, family_, pool_);
  if (!model) return model.error();
  Moments moments(input, first, count, pool_, gemm_);
  if (Status status = run(*model, false, &moments, progress); !status) return status.error();
  for (InputMoments& one : moments.of_experts)
    if (Status status = finish(one, fmt::format("layer {}", layer)); !status) return status.error();
  return std::move(moments.of_experts);
}

Result<InputMoments> LayerWalk::observe_output(std::shared_ptr<const GgufFile> file) {
  auto model = load_head(std::move(file), family_, pool_);
  if (!model) return model.error();
  Moments moments(ProductInput::kOutput, 0, 1, pool_, gemm_);
  if (Status status = run(*model, true, &moments, {}); !status) return status.error();
  if (Status status = finish(moments.of_experts[0], "the output"); !status) return status.error();
  return std::move(moments.of_experts[0]);
}

Status LayerWalk::advance(std::shared_ptr<const GgufFile> file, int layer, const Progress& progress) {
  auto model = load_layer(std::move(file), layer, family_, pool_);
  if (!model) return model.error();
  return run(*model, false, nullptr, progress);
}

}  // namespace quantfleet
