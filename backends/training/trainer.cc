#include "backends/training/trainer.h"

#include "backends/training/checkpoint.h"
#include "backends/training/transformer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

namespace quantfleet::training {
namespace {

constexpr std::int64_t kBlock = 4096;           // floats per task of the optimizer; part of the norm's definition
constexpr std::int64_t kPartTokensMax = 2048;   // tokens that scoring sends through the model at once

// Counter-based: the value depends on (seed, tensor, element) only. SplitMix64 (Steele, Lea & Flood 2014).
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// Mean 0, variance 1, nearly normal, without a logarithm: the sum of 12 uniform numbers (Irwin-Hall), 16 bits each.
float nearly_normal(std::uint64_t seed, std::uint64_t tensor, std::uint64_t element) {
  const std::uint64_t key = mix(mix(seed) + tensor);
  std::int64_t sum = 0;
  for (std::uint64_t word = 0; word < 3; ++word) {
    const std::uint64_t bits = mix(key + element * 3 + word);
    for (int part = 0; part < 4; ++part) sum += static_cast<std::int64_t>((bits >> (16 * part)) & 0xffffu);
  }
  return static_cast<float>(sum - 6 * 65535) * 0x1p-16f;
}

double power(double base, std::int64_t exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent >>= 1, base *= base)
    if (exponent & 1) result *= base;
  return result;
}

Status check(const TrainOptions& o) {
  if (Status shape = check(o.shape); !shape) return shape;
  if (o.steps < 1 || o.steps > 100'000'000) return Error{Code::kBadValue, fmt::format("{} steps, expected 1 to 10^8", o.steps)};
  if (o.batch_sequences < 1 || o.batch_sequences > 4096)
    return Error{Code::kBadValue, fmt::format("batch_sequences is {}, expected 1 to 4096", o.batch_sequences)};
  if (o.part_sequences < 1) return Error{Code::kBadValue, fmt::format("part_sequences is {}, expected 1 or more", o.part_sequences)};
  if (!(o.learning_rate > 0.0 && o.learning_rate < 1.0))
    return Error{Code::kBadValue, fmt::format("learning rate {} is not between 0 and 1", o.learning_rate)};
  if (!(o.context_weight >= 0.0f && o.context_weight <= 1.0f))
    return Error{Code::kBadValue, fmt::format("context_weight is {}, expected 0 to 1", o.context_weight)};
  if (o.threads < 0 || o.threads > 1024) return Error{Code::kBadValue, fmt::format("{} threads, expected 0 to 1024", o.threads)};
  return {};
}

class NativeTrainer final : public Trainer {
 public:
  NativeTrainer(const TrainOptions& options, int threads, const GemmF32Kernel& kernel, const TrainOps& ops)
      : options_(options),
        places_(place_weights(options.shape)),
        pool_(threads),
        ops_(ops),
        transformer_(options_.shape, places_, pool_, kernel, ops) {
    const std::size_t count = static_cast<std::size_t>(places_.count);
    weights_.assign(count, 0.0f);
    gradients_.assign(count, 0.0f);
    m_.assign(count, 0.0f);
    v_.assign(count, 0.0f);
    const float residual = 0.02f / __builtin_sqrtf(2.0f * static_cast<float>(options.shape.layers));
    for (std::size_t i = 0; i < places_.tensors.size(); ++i) {
      const TensorPlace& tensor = places_.tensors[i];
      float* w = weights_.data() + tensor.offset;
      for (std::int64_t j = 0; j < tensor.count(); ++j)
        w[j] = tensor.is_norm ? 1.0f
                              : (tensor.is_residual_output ? residual : 0.02f) *
                                    nearly_normal(options.seed, i, static_cast<std::uint64_t>(j));
    }
  }

  const TrainOptions& options() const override { return options_; }
  const char* kernels() const override { return ops_.name; }
  int threads() const override { return pool_.threads(); }
  std::int64_t step() const override { return step_; }
  std::int64_t count_weights() const override { return places_.count; }
  std::span<const TensorPlace> tensors() const override { return places_.tensors; }
  std::span<const float> weights() const override { return weights_; }
  std::span<float> mutable_weights() override { return weights_; }
  std::string weights_digest() const override { return sha256_of(std::as_bytes(std::span(weights_))); }

  Result<StepReport> train_step(std::span<const std::uint16_t> tokens) override {
    StepReport report{step_, 0.0, learning_rate_at(options_, step_), 0.0};
    if (Status done = accumulate_gradient(tokens, report.loss); !done) return done.error();
    report.gradient_norm = gradient_norm();
    if (!std::isfinite(report.gradient_norm) || !std::isfinite(report.loss))
      return Error{Code::kNonFinite, fmt::format("the gradient of step {} is not finite (loss {}); a lower learning rate may help",
                                                 step_, report.loss)};
    ++step_;
    TrainOps::Adam adam{};
    adam.rate = static_cast<float>(report.learning_rate);
    adam.beta1 = options_.beta1;
    adam.beta2 = options_.beta2;
    adam.eps = options_.eps;
    adam.correction1 = static_cast<float>(1.0 / (1.0 - power(options_.beta1, step_)));
    adam.correction2 = static_cast<float>(1.0 / (1.0 - power(options_.beta2, step_)));
    adam.gradient_scale =
        report.gradient_norm > options_.clip_norm ? static_cast<float>(options_.clip_norm / report.gradient_norm) : 1.0f;
    for (const TensorPlace& tensor : places_.tensors) {
      adam.decay = tensor.is_norm ? 0.0f : options_.weight_decay;
      pool_.parallel_for(tensor.count(), 4 * kBlock, [&](std::int64_t begin, std::int64_t end, int) {
        const std::int64_t place = tensor.offset + begin;
        ops_.adamw(adam, gradients_.data() + place, end - begin, weights_.data() + place, m_.data() + place, v_.data() + place);
      });
    }
    return report;
  }

  Result<std::vector<float>> gradient(std::span<const std::uint16_t> tokens, double& loss) override {
    if (Status done = accumulate_gradient(tokens, loss); !done) return done.error();
    return gradients_;
  }

  Result<std::vector<std::vector<float>>> score_choices(std::span<const ChoiceItem> items) override {
    std::vector<std::vector<float>> scores(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      const ChoiceItem& item = items[i];
      if (Status fits = check_tokens(item.prompt, fmt::format("prompt of item {}", i)); !fits) return fits.error();
      for (const auto& choice : item.choices) {
        if (Status fits = check_tokens(choice, fmt::format("a choice of item {}", i)); !fits) return fits.error();
        if (std::ssize(item.prompt) + std::ssize(choice) > options_.shape.context)
          return Error{Code::kTooLarge, fmt::format("prompt and choice of item {} have {} tokens, the context holds {}", i,
                                                    item.prompt.size() + choice.size(), options_.shape.context)};
      }
      scores[i].assign(item.choices.size(), 0.0f);
    }
    struct Wanted {
      float* score;
      std::uint16_t target;
    };
    Batch batch;
    std::vector<Wanted> wanted;
    std::vector<std::int64_t> rows;
    const auto flush = [&] {
      if (batch.starts.empty()) return;
      batch.starts.push_back(batch.count());
      transformer_.hidden(weights_.data(), batch);
      const std::int64_t vocabulary = options_.shape.vocabulary;
      for (std::size_t r0 = 0; r0 < rows.size(); r0 += kPartTokensMax) {
        const std::span part = std::span(rows).subspan(r0, std::min<std::size_t>(kPartTokensMax, rows.size() - r0));
        const float* logits = transformer_.logits(weights_.data(), part);
        for (std::size_t i = 0; i < part.size(); ++i) {
          const float* row = logits + static_cast<std::int64_t>(i) * vocabulary;
          *wanted[r0 + i].score += row[wanted[r0 + i].target] - ops_.log_partition(row, vocabulary);
        }
      }
      batch = {};
      wanted.clear();
      rows.clear();
    };
    for (std::size_t i = 0; i < items.size(); ++i) {
      const ChoiceItem& item = items[i];
      batch.starts.push_back(batch.count());
      const std::int32_t length = static_cast<std::int32_t>(item.prompt.size());
      append(batch, item.prompt, 0, 0);
      const std::int64_t last = batch.count() - 1;
      for (std::size_t c = 0; c < item.choices.size(); ++c) {
        const auto& choice = item.choices[c];
        const std::int64_t first = batch.count();
        append(batch, std::span(choice).first(choice.size() - 1), length, static_cast<std::int32_t>(c) + 1);
        for (std::size_t j = 0; j < choice.size(); ++j) {
          rows.push_back(j == 0 ? last : first + static_cast<std::int64_t>(j) - 1);
          wanted.push_back({&scores[i][c], choice[j]});
        }
      }
      if (batch.count() >= kPartTokensMax) flush();
    }
    flush();
    return scores;
  }

  Result<std::vector<std::vector<std::uint16_t>>> generate(std::span<const std::vector<std::uint16_t>> prompts,
                                                           std::int64_t count_tokens_max, std::uint16_t stop) override {
    std::vector<std::vector<std::uint16_t>> texts(prompts.begin(), prompts.end());
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (Status fits = check_tokens(texts[i], fmt::format("prompt {}", i)); !fits) return fits.error();
      if (std::ssize(texts[i]) < options_.shape.context) open.push_back(i);
    }
    for (std::int64_t produced = 0; produced < count_tokens_max && !open.empty(); ++produced) {
      std::vector<std::size_t> still_open;
      for (std::size_t next = 0; next < open.size();) {
        Batch batch;
        std::vector<std::int64_t> rows;
        const std::size_t begin = next;
        for (; next < open.size() && batch.count() < kPartTokensMax; ++next) {
          batch.starts.push_back(batch.count());
          append(batch, texts[open[next]], 0, 0);
          rows.push_back(batch.count() - 1);
        }
        batch.starts.push_back(batch.count());
        transformer_.hidden(weights_.data(), batch);
        const float* logits = transformer_.logits(weights_.data(), rows);
        for (std::size_t i = begin; i < next; ++i, logits += options_.shape.vocabulary) {
          const auto best = std::max_element(logits, logits + options_.shape.vocabulary) - logits;  // ties: the lowest id
          if (best == stop) continue;
          std::vector<std::uint16_t>& text = texts[open[i]];
          text.push_back(static_cast<std::uint16_t>(best));
          if (std::ssize(text) < options_.shape.context) still_open.push_back(open[i]);
        }
      }
      open = std::move(still_open);
    }
    for (std::size_t i = 0; i < texts.size(); ++i) texts[i].erase(texts[i].begin(), texts[i].begin() + std::ssize(prompts[i]));
    return texts;
  }

  Result<std::vector<float>> logits(std::span<const std::uint16_t> tokens) override {
    if (Status fits = check_tokens(tokens, "sequence"); !fits) return fits.error();
    if (std::ssize(tokens) > options_.shape.context)
      return Error{Code::kTooLarge, fmt::format("{} tokens, the context holds {}", tokens.size(), options_.shape.context)};
    Batch batch;
    batch.starts = {0, std::ssize(tokens)};
    append(batch, tokens, 0, 0);
    transformer_.hidden(weights_.data(), batch);
    std::vector<std::int64_t> rows(tokens.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
    const float* result = transformer_.logits(weights_.data(), rows);
    return std::vector<float>(result, result + std::ssize(tokens) * options_.shape.vocabulary);
  }

  Result<double> mean_loss(std::span<const std::vector<std::uint16_t>> sequences) override {
    std::vector<ChoiceItem> items;
    std::size_t count = 0;
    for (const auto& sequence : sequences) {
      if (sequence.size() < 2) return Error{Code::kBadShape, "a sequence to score needs at least two tokens"};
      items.push_back({{sequence[0]}, {{sequence.begin() + 1, sequence.end()}}});
      count += sequence.size() - 1;
    }
    auto scores = score_choices(items);
    if (!scores) return scores.error();
    double sum = 0.0;
    for (const auto& score : *scores) sum -= score[0];
    return count ? sum / static_cast<double>(count) : 0.0;
  }

  Status save_checkpoint(const std::filesystem::path& path) const override {
    return write_checkpoint(path, recipe_words(), step_, {weights_, m_, v_});
  }

  Status load_checkpoint(const std::filesystem::path& path) override {
    std::int64_t step = 0;
    if (Status read = read_checkpoint(path, recipe_words(), step, {weights_, m_, v_}); !read) return read;
    step_ = step;
    return {};
  }

  Status export_gguf(const std::filesystem::path& path, const std::vector<std::pair<std::string, GgufValue>>& tokenizer,
                     const std::string& name) const override {
    return export_f16(path, options_.shape, places_, weights_, tokenizer, name);
  }

 private:
  // What a checkpoint must agree on.
  std::string recipe_words() const {
    const ModelShape& s = options_.shape;
    const TrainOptions& o = options_;
    return fmt::format(
        "vocabulary {} width {} layers {} heads {} kv_heads {} head_width {} feed_forward {} context {} rope_base {} norm_eps {} "
        "steps {} batch_sequences {} learning_rate {} warmup_steps {} constant_until {} final_rate {} beta1 {} beta2 {} eps {} "
        "weight_decay {} clip_norm {} context_weight {} seed {}",
        s.vocabulary, s.width, s.layers, s.heads, s.kv_heads, s.head_width, s.feed_forward, s.context, s.rope_base, s.norm_eps,
        o.steps, o.batch_sequences, o.learning_rate, o.warmup_steps, o.constant_until, o.final_rate, o.beta1, o.beta2, o.eps,
        o.weight_decay, o.clip_norm, o.context_weight, o.seed);
  }

  static void append(Batch& batch, std::span<const std::uint16_t> tokens, std::int32_t first_position, std::int32_t segment) {
    batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      batch.positions.push_back(first_position + static_cast<std::int32_t>(i));
      batch.segments.push_back(segment);
    }
  }

  Status check_tokens(std::span<const std::uint16_t> tokens, std::string_view place) const {
    if (tokens.empty()) return Error{Code::kBadShape, fmt::format("{} has no tokens", place)};
    if (std::ssize(tokens) > options_.shape.context)
      return Error{Code::kTooLarge, fmt::format("{} has {} tokens, the context holds {}", place, tokens.size(), options_.shape.context)};
    for (const std::uint16_t token : tokens)
      if (token >= options_.shape.vocabulary)
        return Error{Code::kBadValue, fmt::format("{} holds token {}, the vocabulary ends at {}", place, token,
                                                  options_.shape.vocabulary - 1)};
    return {};
  }

  Status accumulate_gradient(std::span<const std::uint16_t> tokens, double& loss) {
    const std::int64_t context = options_.shape.context, sequences = options_.batch_sequences;
    if (std::ssize(tokens) != sequences * (context + 1))
      return Error{Code::kBadShape, fmt::format("a step needs {} tokens, got {}", sequences * (context + 1), tokens.size())};
    for (const std::uint16_t token : tokens)
      if ((token & ~kContextBit) >= options_.shape.vocabulary)
        return Error{Code::kBadValue,
                     fmt::format("token {} in step {}, the vocabulary ends at {}", token & ~kContextBit, step_, options_.shape.vocabulary - 1)};
    std::fill(gradients_.begin(), gradients_.end(), 0.0f);
    const float scale = 1.0f / static_cast<float>(sequences * context);
    double sum = 0.0;
    for (std::int64_t s0 = 0; s0 < sequences; s0 += options_.part_sequences) {
      const std::int64_t s1 = std::min<std::int64_t>(sequences, s0 + options_.part_sequences);
      Batch batch;
      std::vector<std::uint16_t> targets;
      std::vector<float> scales;
      for (std::int64_t s = s0; s < s1; ++s) {
        const std::uint16_t* row = tokens.data() + s * (context + 1);
        batch.starts.push_back(batch.count());
        for (std::int64_t t = 0; t < context; ++t) {
          batch.tokens.push_back(row[t] & static_cast<std::uint16_t>(~kContextBit));
          batch.positions.push_back(static_cast<std::int32_t>(t));
          targets.push_back(row[t + 1] & static_cast<std::uint16_t>(~kContextBit));
          scales.push_back(row[t + 1] & kContextBit ? scale * options_.context_weight : scale);
        }
      }
      batch.starts.push_back(batch.count());
      losses_.resize(targets.size());
      transformer_.backpropagate(weights_.data(), batch, targets, scales, gradients_.data(), losses_.data());
      for (const float token_loss : losses_) sum += token_loss;
    }
    loss = sum / static_cast<double>(sequences * context);
    return {};
  }

  double gradient_norm() {
    const std::int64_t blocks = (places_.count + kBlock - 1) / kBlock;
    block_sums_.resize(static_cast<std::size_t>(blocks));
    pool_.parallel_for(blocks, 4, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t b = begin; b < end; ++b)
        block_sums_[static_cast<std::size_t>(b)] =
            ops_.sum_of_squares(gradients_.data() + b * kBlock, std::min(kBlock, places_.count - b * kBlock));
    });
    double sum = 0.0;
    for (const float block : block_sums_) sum += block;
    return std::sqrt(sum);
  }

  const TrainOptions options_;
  const WeightPlaces places_;
  ThreadPool pool_;
  const TrainOps& ops_;
  Transformer transformer_;
  std::vector<float> weights_, gradients_, m_, v_;
  std::vector<float> losses_, block_sums_;
  std::int64_t step_ = 0;
};

}  // namespace

double learning_rate_at(const TrainOptions& o, std::int64_t step) {
  if (step < o.warmup_steps) return o.learning_rate * static_cast<double>(step + 1) / static_cast<double>(o.warmup_steps);
  const double turn = o.constant_until * static_cast<double>(o.steps);
  const double done = static_cast<double>(step + 1);
  if (done <= turn) return o.learning_rate;
  const double share = (done - turn) / (static_cast<double>(o.steps) - turn);
  return o.learning_rate * (1.0 - (1.0 - o.final_rate) * (share < 1.0 ? share : 1.0));
}

Result<std::unique_ptr<Trainer>> Trainer::create(const TrainOptions& options) {
  if (Status good = check(options); !good) return good.error();
  const GemmF32Kernel* kernel = find_gemm_f32_kernel(options.kernels);
  const TrainOps* ops = find_train_ops(options.kernels.c_str());
  if (kernel == nullptr || ops == nullptr)
    return Error{Code::kUnsupported, fmt::format("no training kernels \"{}\" on this CPU, expected auto, avx512, avx2 or scalar",
                                                 options.kernels)};
  const int threads = options.threads ? options.threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return std::unique_ptr<Trainer>(std::make_unique<NativeTrainer>(options, threads, *kernel, *ops));
}

Status train(Trainer& trainer, const FillTokens& fill, std::int64_t report_every, const OnProgress& progress) {
  using Clock = std::chrono::steady_clock;
  std::vector<std::uint16_t> tokens(static_cast<std::size_t>(trainer.tokens_per_step() + trainer.options().batch_sequences));
  double busy_s = 0.0, loss = 0.0;
  std::int64_t count = 0;
  while (!trainer.finished()) {
    const Clock::time_point begin = Clock::now();
    fill(trainer.step(), tokens);
    auto report = trainer.train_step(tokens);
    if (!report) return report.error();
    busy_s += std::chrono::duration<double>(Clock::now() - begin).count();
    loss += report->loss;
    ++count;
    if (trainer.step() % report_every != 0 && !trainer.finished()) continue;
    const double per_step_s = busy_s / static_cast<double>(count);
    const Progress now{*report, loss / static_cast<double>(count), static_cast<double>(trainer.tokens_per_step()) / per_step_s,
                       per_step_s * static_cast<double>(trainer.options().steps - trainer.step())};
    if (!progress(trainer, now)) return Error{Code::kCancelled, fmt::format("training stopped after step {}", trainer.step())};
    busy_s = loss = 0.0;
    count = 0;
  }
  return {};
}

}  // namespace quantfleet::training
