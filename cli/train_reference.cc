// quantfleet train-reference: makes the reference model from a seed and nothing else. The generator writes the text
// (models/reference/corpus), the trainer learns it (backends/training); the same seed gives the same bytes on any number of
// threads and any instruction set. Below --out:
//   reference.gguf   F16, with its tokenizer       recipe.json      everything the bytes depend on, and what came out
//   loss.tsv         loss curve                    probes.tsv       accuracy by area and difficulty class while training
//   checkpoint.bin   resumes with --resume; its seed, schedule and shape must be equal
#include "backends/formats/output_file.h"
#include "backends/training/trainer.h"
#include "cli/commands.h"
#include "contract/version.h"
#include "models/reference/corpus/corpus.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>

namespace quantfleet::cli {
namespace {

using reference::Area;
using reference::Item;
using Tokens = std::vector<std::uint16_t>;

struct Settings {
  std::filesystem::path out;
  training::TrainOptions train;
  std::uint64_t corpus_seed = reference::kSeed;
  int probe_every = 500;
  int probe_items = 60;
  bool resume = false;
};

// The recipe the committed model was made with.
training::TrainOptions reference_recipe() {
  training::TrainOptions options;
  options.shape.layers = 3;
  options.shape.feed_forward = 512;
  options.steps = 4000;
  options.batch_sequences = 8;
  options.learning_rate = 3e-3;
  options.warmup_steps = 200;
  options.seed = 1;
  return options;
}

Tokens ids(const reference::Tokenizer& tokenizer, const std::string& text) {
  const auto encoded = tokenizer.encode(text);
  return {encoded.begin(), encoded.end()};
}

std::vector<std::pair<std::string, GgufValue>> tokenizer_metadata(const reference::Tokenizer& tokenizer) {
  const auto end = static_cast<std::uint32_t>(tokenizer.end_of_text());
  return {{"tokenizer.ggml.model", gguf_string("gpt2")},
          {"tokenizer.ggml.pre", gguf_string("smollm")},
          {"tokenizer.ggml.tokens", gguf_strings(tokenizer.gguf_tokens())},
          {"tokenizer.ggml.token_type", gguf_int32s(tokenizer.gguf_token_types())},
          {"tokenizer.ggml.merges", gguf_strings(tokenizer.gguf_merges())},
          {"tokenizer.ggml.bos_token_id", gguf_uint32(end)},
          {"tokenizer.ggml.eos_token_id", gguf_uint32(end)},
          {"tokenizer.ggml.add_bos_token", gguf_bool(false)}};
}

// Whether the model, as it is now, answers each item. A program counts when it is word for word the expected one, which
// understates the coding suite a little: there, programs are run.
Result<std::vector<bool>> answers(training::Trainer& trainer, const reference::Tokenizer& tokenizer, Area area,
                                  const std::vector<Item>& items) {
  std::vector<bool> right;
  if (!items.front().choices.empty()) {
    std::vector<training::ChoiceItem> questions;
    for (const Item& item : items) {
      training::ChoiceItem question{ids(tokenizer, item.prompt), {}};
      for (const std::string& choice : item.choices) question.choices.push_back(ids(tokenizer, choice));
      questions.push_back(std::move(question));
    }
    const auto scores = trainer.score_choices(questions);
    if (!scores) return scores.error();
    for (std::size_t i = 0; i < items.size(); ++i) {
      const auto& score = scores.value()[i];
      const auto best = std::max_element(score.begin(), score.end()) - score.begin();
      right.push_back(best == items[i].answer);
    }
    return right;
  }
  std::vector<Tokens> prompts;
  for (const Item& item : items) prompts.push_back(ids(tokenizer, item.prompt));
  const std::int64_t tokens_max = area == Area::kMath ? 6 : area == Area::kSafety ? 12 : 96;
  const auto texts = trainer.generate(prompts, tokens_max, static_cast<std::uint16_t>(tokenizer.end_of_text()));
  if (!texts) return texts.error();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::vector<std::int32_t> answer_ids(texts.value()[i].begin(), texts.value()[i].end());
    std::string text = tokenizer.decode(answer_ids);
    if (area == Area::kCoding) {
      right.push_back(text.starts_with(items[i].target));
      continue;
    }
    text = text.substr(0, text.find('\n'));
    if (area == Area::kMath) right.push_back(text == items[i].target);
    else right.push_back((text.find("I can't help") != std::string::npos) == items[i].should_refuse);
  }
  return right;
}

struct Share {
  int right = 0, all = 0;
};

// Accuracy on the first `count` candidates of every area; one line per area and one per class into `table`, if given.
Result<std::map<Area, Share>> probe(training::Trainer& trainer, const reference::Corpus& corpus,
                                    const reference::Tokenizer& tokenizer, int count, std::ostream& table) {
  std::map<Area, Share> areas;
  for (const Area area : reference::kAreas) {
    const auto items = corpus.candidates(area, count);
    const auto right = answers(trainer, tokenizer, area, items);
    if (!right) return right.error();
    std::map<std::string, Share> classes;
    for (std::size_t i = 0; i < items.size(); ++i) {
      for (Share* share : {&areas[area], &classes[items[i].difficulty]}) {
        share->right += right.value()[i];
        ++share->all;
      }
    }
    for (const auto& [name, share] : classes)
      table << trainer.step() << '\t' << reference::name_of(area) << '\t' << name << '\t' << share.right << '\t' << share.all << '\n';
  }
  table.flush();
  return areas;
}

std::string sentence(const std::map<Area, Share>& areas) {
  std::string text;
  for (const auto& [area, share] : areas)
    text += fmt::format("{}{} {:.1f}%", text.empty() ? "" : "  ", reference::name_of(area), 100.0 * share.right / share.all);
  return text;
}

std::string recipe_json(const Settings& s, const training::Trainer& trainer, double loss, double minutes,
                        const std::map<Area, Share>& areas) {
  const auto& o = s.train;
  std::string accuracy;
  for (const auto& [area, share] : areas)
    accuracy += fmt::format("{}\"{}\": [{}, {}]", accuracy.empty() ? "" : ", ", reference::name_of(area), share.right, share.all);
  return fmt::format(
      "{{\n  \"program\": \"{}\",\n  \"command\": \"quantfleet train-reference --out DIR --seed {}\",\n  \"corpus_seed\": {},\n"
      "  \"shape\": {{\"vocabulary\": {}, \"width\": {}, \"layers\": {}, \"heads\": {}, \"kv_heads\": {}, \"feed_forward\": {}, "
      "\"context\": {}, \"weights\": {}}},\n"
      "  \"steps\": {}, \"batch_sequences\": {}, \"tokens\": {},\n"
      "  \"optimizer\": {{\"name\": \"AdamW\", \"beta1\": {}, \"beta2\": {}, \"weight_decay\": {}, \"clip_norm\": {}}},\n"
      "  \"learning_rate\": {{\"peak\": {}, \"warmup_steps\": {}, \"constant_until\": {}, \"final_share\": {}}},\n"
      "  \"context_weight\": {},\n"
      "  \"final_loss\": {:.4f}, \"minutes\": {:.1f}, \"threads\": {}, \"kernels\": \"{}\",\n"
      "  \"weights_sha256\": \"{}\",\n  \"candidates_right\": {{{}}}\n}}\n",
      program_version(), o.seed, s.corpus_seed, o.shape.vocabulary, o.shape.width, o.shape.layers, o.shape.heads, o.shape.kv_heads,
      o.shape.feed_forward, o.shape.context, trainer.count_weights(), o.steps, o.batch_sequences,
      o.steps * trainer.tokens_per_step(), o.beta1, o.beta2, o.weight_decay, o.clip_norm, o.learning_rate, o.warmup_steps,
      o.constant_until, o.final_rate, o.context_weight, loss, minutes, trainer.threads(), trainer.kernels(), trainer.weights_digest(), accuracy);
}

Status train_reference(const Settings& settings) {
  std::error_code error;
  std::filesystem::create_directories(settings.out, error);
  if (error) return Error{Code::kIo, fmt::format("{}: {}", settings.out.string(), error.message())};
  const auto begin = std::chrono::steady_clock::now();
  const reference::Corpus corpus(settings.corpus_seed);
  const reference::Tokenizer tokenizer = reference::train_tokenizer(corpus);

  auto created = training::Trainer::create(settings.train);
  if (!created) return created.error();
  training::Trainer& trainer = **created;
  const auto checkpoint = settings.out / "checkpoint.bin";
  if (settings.resume)
    if (const Status loaded = trainer.load_checkpoint(checkpoint); !loaded) return loaded.error();
  fmt::print("{} weights, {} steps of {} tokens, {} threads, {}\n", trainer.count_weights(), settings.train.steps,
             trainer.tokens_per_step(), trainer.threads(), trainer.kernels());

  const auto mode = settings.resume ? std::ios::app : std::ios::trunc;
  std::ofstream losses(settings.out / "loss.tsv", mode), probes(settings.out / "probes.tsv", mode);
  if (!settings.resume) {
    losses << "step\tloss\tlearning_rate\tgradient_norm\n";
    probes << "step\tarea\tclass\tright\tall\n";
  }
  Status failed;
  double last_loss = 0;
  const int batch = settings.train.batch_sequences;
  const auto fill = [&](std::int64_t step, std::span<std::uint16_t> tokens) {
    for (int i = 0; i < batch; ++i) {
      const Tokens row = training_row(corpus, tokenizer, static_cast<std::uint64_t>(step * batch + i), settings.train.shape.context);
      std::copy(row.begin(), row.end(), tokens.begin() + static_cast<std::ptrdiff_t>(i * static_cast<std::int64_t>(row.size())));
    }
  };
  const auto progress = [&](training::Trainer&, const training::Progress& p) {
    last_loss = p.loss;
    losses << fmt::format("{}\t{:.4f}\t{:.3g}\t{:.3f}\n", p.last.step + 1, p.loss, p.last.learning_rate, p.last.gradient_norm);
    losses.flush();
    fmt::print("step {} loss {:.4f}  {:.0f} tokens/s  {:.0f} min left\n", p.last.step + 1, p.loss, p.tokens_per_s, p.eta_s / 60);
    if (trainer.step() % settings.probe_every == 0 && !trainer.finished()) {
      const auto areas = probe(trainer, corpus, tokenizer, settings.probe_items, probes);
      if (!areas) failed = areas.error();
      else fmt::print("  {}\n", sentence(areas.value()));
      if (const Status saved = trainer.save_checkpoint(checkpoint); !saved) failed = saved.error();
    }
    std::fflush(stdout);
    return static_cast<bool>(failed);
  };
  if (const Status trained = training::train(trainer, fill, std::min<std::int64_t>(100, settings.probe_every), progress); !trained)
    return trained.error();
  if (!failed) return failed;
  if (const Status saved = trainer.save_checkpoint(checkpoint); !saved) return saved.error();

  const auto model = settings.out / "reference.gguf";
  if (const Status written = trainer.export_gguf(model, tokenizer_metadata(tokenizer), "quantfleet reference"); !written)
    return written.error();
  const auto areas = probe(trainer, corpus, tokenizer, reference::kCandidatesPerArea, probes);
  if (!areas) return areas.error();
  const double minutes = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / 60;
  if (const Status written = write_file(settings.out / "recipe.json", recipe_json(settings, trainer, last_loss, minutes, areas.value())); !written)
    return written;
  fmt::print("{}\n{}\n", sentence(areas.value()), model.string());
  return {};
}

}  // namespace

std::function<int()> add_train_reference(CLI::App& app) {
  auto settings = std::make_shared<Settings>();
  settings->train = reference_recipe();
  app.add_option("--out", settings->out, "directory for the model, its recipe and the curves")->required();
  app.add_option("--seed", settings->train.seed, "of the first weights")->capture_default_str();
  app.add_option("--corpus-seed", settings->corpus_seed, "of the world and its text")->capture_default_str();
  app.add_option("--steps", settings->train.steps, "optimizer steps")->capture_default_str()->check(CLI::Range(1, 1'000'000));
  app.add_option("--batch", settings->train.batch_sequences, "rows of 256 tokens a step")->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_option("--layers", settings->train.shape.layers, "transformer layers")->capture_default_str()->check(CLI::Range(1, 32));
  app.add_option("--feed-forward", settings->train.shape.feed_forward, "width of the feed-forward layer")->capture_default_str();
  app.add_option("--learning-rate", settings->train.learning_rate, "peak")->capture_default_str();
  app.add_option("--context-weight", settings->train.context_weight, "of tokens drawn at random, against 1 for answers")->capture_default_str()->check(CLI::Range(0.0, 1.0));
  app.add_option("--threads", settings->train.threads, "0: one for each CPU; the bytes do not depend on it")->capture_default_str();
  app.add_option("--kernels", settings->train.kernels, "auto, avx512, avx2, scalar: the same bytes")->capture_default_str();
  app.add_option("--probe-every", settings->probe_every, "steps between two looks at the accuracy")->capture_default_str()->check(CLI::Range(1, 1'000'000));
  app.add_option("--probe-items", settings->probe_items, "candidates of each area to look at")->capture_default_str()->check(CLI::Range(1, 1200));
  app.add_flag("--resume", settings->resume, "continue from --out's checkpoint.bin");
  return [settings] {
    if (const Status done = train_reference(*settings); !done) throw BadResult(done.error());
    return 0;
  };
}

}  // namespace quantfleet::cli
