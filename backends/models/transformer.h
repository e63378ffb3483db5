// The forward pass of a decoder-only transformer (Vaswani et al. 2017; Touvron et al. 2023): many texts at once, each with
// its own position in the KV cache, logits only for the rows somebody wants. Bit for bit the same for every kernel family,
// number of threads, company in the batch and cut into chunks (docs/numerics.md).
#pragma once

#include "backends/models/kv_cache.h"
#include "backends/models/weights.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace quantfleet {

// The matrix products of a layer, by what they multiply; kOutput: of the output matrix, behind the last layer. The kExpert ones are of
// one expert of a mixture, kShared ones of the expert that all tokens share.
enum class ProductInput { kQkv, kAttentionOutput, kGateUp, kDown, kExpertGateUp, kExpertDown, kSharedGateUp, kSharedDown, kOutput };

struct ObservedInput {
  int layer = 0;
  ProductInput product = ProductInput::kQkv;
  std::int64_t expert = 0;
  const float* x = nullptr;           // [rows, columns], rows `stride` floats apart; valid during the call
  std::int64_t rows = 0, columns = 0, stride = 0;
};

// Sees what the matrix products of a run multiply, in the order of the tokens whatever the chunks are: the source of importance
// matrices and of GPTQ's Hessians.
class InputObserver {
 public:
  virtual ~InputObserver() = default;
  // false: what follows this product is not needed; the chunk ends here. (Behind products of experts the answer is not heard.)
  virtual bool observe(const ObservedInput& input) = 0;
};

class Transformer {
 public:
  // activations: kInt8 applies to the matrices that have it, the others stay F32. chunk_rows: tokens that go through the
  // layers together; memory grows with it, results do not change.
  Transformer(std::shared_ptr<const Model> model, ActivationKind activations, ThreadPool& pool, std::int64_t chunk_rows = 256);

  // Tokens that follow what the sequence holds. Each sequence at most once per call, all of one cache.
  struct Segment {
    KvSequence* sequence = nullptr;
    std::span<const std::int32_t> tokens;
    std::int64_t first_wanted = 0;  // logits are wanted behind tokens first_wanted, first_wanted + 1, ...
  };
  // Called for every wanted row, in order. logits [V]: of what follows tokens[token]; valid during the call.
  using Sink = std::function<void(std::size_t segment, std::int64_t token, std::span<const float> logits)>;

  // Extends every sequence by its tokens. Errors: kBadValue for a token outside the vocabulary, kTooLarge for a position
  // beyond the context (nothing is evaluated then); kNonFinite where logits are not finite numbers.
  // `beside`: called for every wanted row of finite numbers before the sink is, in any order, by several threads at once.
  Status forward(std::span<const Segment> segments, const Sink& sink, const Sink& beside = {});

  // The states of tokens in front of the first layer, [tokens, C]; position: of the first.
  void embed(std::span<const std::int32_t> tokens, std::int64_t position, std::span<float> states);
  // The layers alone: states [tokens, C] of a text that follows what the sequence holds, each replaced by the last layer's output,
  // before the output norm. Logits behind tokens first_wanted and following go to the sink (models with an output matrix).
  Status forward_states(KvSequence& sequence, std::span<float> states, std::int64_t first_wanted, const Sink& sink);

  // nullptr: none, at no cost. While there is one, the last layer works on all rows, not on the wanted ones alone.
  void set_observer(InputObserver* observer) { observer_ = observer; }

  const Model& model() const { return *model_; }
  ActivationKind activations() const { return activations_; }
  void set_context_tokens(std::int64_t tokens) { context_tokens_ = tokens; }  // 0: no limit
  // Models with two sets of rotary frequencies: use those of contexts above config.long_rotary_context. Before the first forward.
  void use_long_rotary(bool use) { long_rotary_ = use && !model_->long_rotary_frequencies.empty(); }

 private:
  struct Row {
    KvSequence* sequence;
    std::int32_t token;
    std::int64_t position;
    std::size_t segment;
    std::int64_t index;   // in its segment
    bool wanted;
    float* state;         // [C] in place of the token's embedding; nullptr: none
  };
  void prepare_rotary(std::int64_t longest);
  Status run_chunk(std::span<const Row> rows, const Sink& sink, const Sink& beside);
  void attend(int layer, std::int64_t queries, const KvCache& cache);
  void normalize(const NormWeights& weights, const float* x, float* y);  // one row; y = x without weights; y may be x
  void multiply(const StackedMatrix& w, const float* x, std::int64_t rows, std::int64_t x_stride, float* y);  // y [rows, w.rows]
  void add_low_rank(const WeightMatrix& b, float scale, std::int64_t rows, float* y, std::int64_t y_stride);  // y += B (scale low_rank_)
  void activate(float* gate_up, std::int64_t width);                     // one row: act(gate) * up in place of the gate
  void mix_experts(int layer, const MixtureWeights& mixture, std::int64_t rows);    // normed_ -> output_ (transformer_experts.cc)
  template <class Body>
  void for_rows(std::int64_t rows, std::int64_t values_per_row, const Body& body) {
    // Below this many values a loop is cheaper on one thread than the start of all of them.
    constexpr std::int64_t kValuesWorthThreads = 1 << 14;
    if (pool_.threads() == 1 || rows * values_per_row < kValuesWorthThreads) {
      for (std::int64_t row = 0; row < rows; ++row) body(row);
      return;
    }
    const auto range = [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t row = begin; row < end; ++row) body(row);
    };
    pool_.parallel_for(rows, std::max<std::int64_t>(1, rows / (4 * pool_.threads())), std::cref(range));
  }

  std::shared_ptr<const Model> model_;
  ActivationKind activations_;
  ThreadPool& pool_;
  std::int64_t chunk_rows_;
  std::int64_t context_tokens_ = 0;
  InputObserver* observer_ = nullptr;
  bool long_rotary_ = false;
  RotaryTable rotary_, windowed_rotary_;
  std::vector<float> ones_;  // [F]: the gate of a feed-forward that has none
  MatmulScratch scratch_;
  // Rows of the chunk: residual stream, its norm, what is inside a sub-layer, its output, logits.
  std::vector<float> x_, normed_, inner_, output_, logits_;
  // In inner_: attention's projections and result; in the same place gate|up.
  float *qkv_ = nullptr, *attended_ = nullptr, *gate_up_ = nullptr;
  // A mixture's: probabilities [rows, E]; then by pairs of row and expert, grouped by expert: inputs, gate|up, outputs.
  std::vector<float> router_, gathered_, expert_gate_up_, expert_output_, shared_output_;
  std::vector<float> low_rank_, added_;  // of an adapter: A x [rows, r], and B's product
  std::vector<std::int64_t> positions_;
  std::vector<const float* const*> tables_;
};

}  // namespace quantfleet
