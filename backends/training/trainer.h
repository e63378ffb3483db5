// Trains a small Llama-architecture model from nothing: AdamW, clipping, schedule, checkpoints; questions to the model while
// it trains; export as F16 GGUF. The weights after a step have the same bytes for any thread count, instruction set and
// micro-batch, and after a resume. Method and recipe: docs/training.md. Knows nothing of files of text: the caller gives tokens.
//
//   auto trainer = Trainer::create(options).value();
//   while (!trainer->finished()) {
//     next_tokens(trainer->step(), tokens);                    // batch_sequences * (context + 1)
//     StepReport report = trainer->train_step(tokens).value();
//   }
//   trainer->export_gguf("model.gguf", tokenizer_metadata, "name").value();
#pragma once

#include "backends/formats/gguf.h"
#include "backends/training/model_shape.h"
#include "contract/error.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace quantfleet::training {

// A token of train_step() may carry this bit: it is read as usual, but as a target it counts context_weight instead of 1.
inline constexpr std::uint16_t kContextBit = 0x8000;

struct TrainOptions {
  ModelShape shape;
  std::int64_t steps = 6000;
  std::int32_t batch_sequences = 16;
  double learning_rate = 2.5e-3;
  std::int64_t warmup_steps = 200;
  double constant_until = 0.6;   // share of the steps; then linear down
  double final_rate = 0.02;      // share of learning_rate at the last step
  float beta1 = 0.9f, beta2 = 0.98f, eps = 1e-8f;
  float weight_decay = 0.05f;    // on matrices only
  float clip_norm = 1.0f;        // of the whole gradient
  float context_weight = 1.0f;   // of the loss of targets that carry kContextBit, 0 to 1; the reported loss stays unweighted
  std::uint64_t seed = 1;
  int threads = 0;               // 0: one per CPU
  std::string kernels = "auto";  // auto, avx512, avx2, scalar: the same bytes
  std::int32_t part_sequences = 4;  // sequences that go through the model at once; changes memory and speed only
};

// The learning rate of a step, counted from 0.
double learning_rate_at(const TrainOptions& options, std::int64_t step);

struct StepReport {
  std::int64_t step;      // that was done, from 0
  double loss;            // mean over the batch before the update, nats per token
  double learning_rate;
  double gradient_norm;   // before clipping
};

// A prompt and its possible continuations, scored together: the prompt goes through the model once.
struct ChoiceItem {
  std::vector<std::uint16_t> prompt;                // at least one token
  std::vector<std::vector<std::uint16_t>> choices;  // each at least one token; prompt + choice within the context
};

class Trainer {
 public:
  static Result<std::unique_ptr<Trainer>> create(const TrainOptions& options);
  virtual ~Trainer() = default;

  virtual const TrainOptions& options() const = 0;
  virtual const char* kernels() const = 0;   // that are used
  virtual int threads() const = 0;
  virtual std::int64_t step() const = 0;     // steps done
  bool finished() const { return step() >= options().steps; }
  std::int64_t tokens_per_step() const { return std::int64_t(options().batch_sequences) * options().shape.context; }
  virtual std::int64_t count_weights() const = 0;

  // tokens: batch_sequences rows of context + 1; each row's inputs are its first `context` tokens, its targets the last.
  // Errors: kBadShape, kBadValue (a token outside the vocabulary), kNonFinite (the gradient; the weights are then unchanged).
  virtual Result<StepReport> train_step(std::span<const std::uint16_t> tokens) = 0;

  // What the present weights think. Never changes them, nor what later steps give.
  //   score_choices: for each item and choice the sum of log p(token | before), natural logarithm
  //   generate: greedy continuations until `stop` (not included), count_tokens_max or the context's end
  //   logits: [tokens, vocabulary];   mean_loss: over tokens 1.. of each sequence, nats
  virtual Result<std::vector<std::vector<float>>> score_choices(std::span<const ChoiceItem> items) = 0;
  virtual Result<std::vector<std::vector<std::uint16_t>>> generate(std::span<const std::vector<std::uint16_t>> prompts,
                                                                   std::int64_t count_tokens_max, std::uint16_t stop) = 0;
  virtual Result<std::vector<float>> logits(std::span<const std::uint16_t> tokens) = 0;
  virtual Result<double> mean_loss(std::span<const std::vector<std::uint16_t>> sequences) = 0;

  // A checkpoint holds weights, moments and the step; written beside the target, then renamed. Loading refuses another shape,
  // schedule, seed or optimizer (threads, kernels and parts may differ), and damaged bytes.
  virtual Status save_checkpoint(const std::filesystem::path& path) const = 0;
  virtual Status load_checkpoint(const std::filesystem::path& path) = 0;

  virtual std::string weights_digest() const = 0;  // SHA-256 over all weights, F32 little-endian, in tensor order
  virtual std::span<const TensorPlace> tensors() const = 0;
  virtual std::span<const float> weights() const = 0;
  // For tests and experiments that set weights by hand, and the gradient of the mean loss without a step.
  virtual std::span<float> mutable_weights() = 0;
  virtual Result<std::vector<float>> gradient(std::span<const std::uint16_t> tokens, double& loss) = 0;

  // The weights as F16 under llama.cpp's names with general.* and llama.* metadata; `tokenizer` (tokenizer.ggml.*) follows.
  virtual Status export_gguf(const std::filesystem::path& path,
                             const std::vector<std::pair<std::string, GgufValue>>& tokenizer,
                             const std::string& name) const = 0;
};

// The loop around a Trainer. `fill` gives the tokens of a step (same arguments, same tokens); `progress` is called after
// every `report_every` steps and after the last; it may ask the trainer anything, and returns false to stop.
struct Progress {
  StepReport last;
  double loss;             // mean over the steps since the report before
  double tokens_per_s;     // since the report before, training only
  double eta_s;
};
using FillTokens = std::function<void(std::int64_t step, std::span<std::uint16_t> tokens)>;
using OnProgress = std::function<bool(Trainer&, const Progress&)>;
Status train(Trainer& trainer, const FillTokens& fill, std::int64_t report_every, const OnProgress& progress);

}  // namespace quantfleet::training
