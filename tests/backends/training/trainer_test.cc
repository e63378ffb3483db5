// What a user of the trainer relies on: the same bytes everywhere, resuming, refusing damaged files, learning, scoring, export.
#include "tests/paths.h"
#include "tests/backends/training/toy.h"

#include "backends/formats/half_float.h"
#include "tests/shared_data.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

using namespace quantfleet;
using namespace quantfleet::training;

namespace {

namespace fs = std::filesystem;

std::string place(const char* name) {
  const fs::path folder = test::binary_dir() / "training_test";
  fs::create_directories(folder);
  return (folder / (std::to_string(::getpid()) + name)).string();
}

void run_until(Trainer& trainer, std::int64_t step) {
  std::vector<std::uint16_t> tokens(std::size_t(trainer.tokens_per_step() + trainer.options().batch_sequences));
  while (trainer.step() < step) {
    toy_tokens(trainer.step(), tokens);
    REQUIRE(trainer.train_step(tokens).has_value());
  }
}

std::string digest_after_20_steps(const TrainOptions& options) {
  const auto trainer = Trainer::create(options).value();
  run_until(*trainer, 20);
  return trainer->weights_digest();
}

std::string golden_digest() {
  std::ifstream file(test::source_dir() / "tests/golden/training_20_steps.sha256");
  std::string digest;
  REQUIRE(file >> digest);
  return digest;
}

}  // namespace

TEST_CASE("twenty steps give the bytes of the repository for every instruction set, thread count and part size", "[training]") {
  TrainOptions options = toy_options();
  SECTION("scalar") { options.kernels = "scalar"; }
  SECTION("AVX2, two threads") { options.kernels = "avx2", options.threads = 2; }
  SECTION("AVX-512, one sequence at a time") { options.kernels = "avx512", options.part_sequences = 1; }
  SECTION("the whole batch at once, three threads") { options.part_sequences = 3, options.threads = 3; }
  CAPTURE(options.kernels, options.threads, options.part_sequences);
  if (const auto created = Trainer::create(options); !created && created.error().code == Code::kUnsupported) {
    WARN("skipped: " << created.error().detail);
    return;
  }
  CHECK(digest_after_20_steps(options) == golden_digest());
}

TEST_CASE("another seed gives other bytes", "[training]") {
  TrainOptions options = toy_options();
  options.seed = 2;
  CHECK(digest_after_20_steps(options) != golden_digest());
}

TEST_CASE("a run that was interrupted and resumed ends with the bytes of an uninterrupted one", "[training]") {
  const std::string path = place("resume.ckpt");
  {
    const auto first = Trainer::create(toy_options()).value();
    run_until(*first, 7);
    REQUIRE(first->save_checkpoint(path).has_value());
    run_until(*first, 9);  // steps after the checkpoint are lost, as in a crash
  }
  TrainOptions options = toy_options();
  options.threads = 2;
  const auto second = Trainer::create(options).value();
  REQUIRE(second->load_checkpoint(path).has_value());
  CHECK(second->step() == 7);
  run_until(*second, 20);
  CHECK(second->weights_digest() == golden_digest());
  fs::remove(path);
}

TEST_CASE("a checkpoint that does not fit is refused with a sentence, and the trainer stays as it was", "[training]") {
  const std::string path = place("refuse.ckpt");
  const auto trainer = Trainer::create(toy_options()).value();
  run_until(*trainer, 2);
  REQUIRE(trainer->save_checkpoint(path).has_value());
  const std::string before = trainer->weights_digest();
  const auto size = fs::file_size(path);
  Code expected{};
  SECTION("absent") { fs::remove(path), expected = Code::kNotFound; }
  SECTION("truncated") { fs::resize_file(path, size - 40), expected = Code::kTruncated; }
  SECTION("empty") { fs::resize_file(path, 0), expected = Code::kTruncated; }
  SECTION("one bit flipped") {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(std::streamoff(size / 2));
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(std::streamoff(size / 2));
    file.put(byte);
    expected = Code::kHashMismatch;
  }
  SECTION("another file") {
    std::ofstream(path, std::ios::binary) << "GGUF, perhaps, but no checkpoint";
    expected = Code::kBadMagic;
  }
  SECTION("another learning rate") {
    TrainOptions options = toy_options();
    options.learning_rate = 2e-2;
    const Status loaded = Trainer::create(options).value()->load_checkpoint(path);
    REQUIRE_FALSE(loaded.has_value());
    CHECK(loaded.error().code == Code::kBadValue);
    fs::remove(path);
    return;
  }
  const Status loaded = trainer->load_checkpoint(path);
  REQUIRE_FALSE(loaded.has_value());
  CHECK(loaded.error().code == expected);
  CHECK(trainer->step() == 2);
  CHECK(trainer->weights_digest() == before);
  fs::remove(path);
}

TEST_CASE("a checkpoint that cannot be written leaves nothing half-written", "[training]") {
  const auto trainer = Trainer::create(toy_options()).value();
  const fs::path absent = place("absent_folder");
  CHECK_FALSE(trainer->save_checkpoint(absent / "x.ckpt").has_value());
  CHECK_FALSE(fs::exists(absent));
}

TEST_CASE("the loss falls to what a predictable text deserves", "[training]") {
  TrainOptions options = toy_options();
  options.steps = 60;
  options.threads = 2;
  const auto trainer = Trainer::create(options).value();
  std::vector<double> losses;
  int reports = 0;
  REQUIRE(train(*trainer, toy_tokens, 10, [&](Trainer& same, const Progress& progress) {
    CHECK(&same == trainer.get());
    CHECK(progress.tokens_per_s > 0);
    losses.push_back(progress.loss);
    return ++reports < 100;
  }).has_value());
  REQUIRE(losses.size() == 6);
  CHECK(losses.front() > 3.2);  // log 64 = 4.16 before the first step
  CHECK(losses.back() < 2.8);  // floor about 2.0: two tokens in three are certain, the third is one of 64
}

TEST_CASE("training stops when the caller says so", "[training]") {
  const auto trainer = Trainer::create(toy_options()).value();
  const Status stopped = train(*trainer, toy_tokens, 2, [](Trainer&, const Progress&) { return false; });
  REQUIRE_FALSE(stopped.has_value());
  CHECK(stopped.error().code == Code::kCancelled);
  CHECK(trainer->step() == 2);
}

TEST_CASE("the learning rate rises, stays and falls as the recipe says", "[training]") {
  TrainOptions o;
  o.steps = 1000, o.warmup_steps = 100, o.learning_rate = 1.0;
  CHECK(learning_rate_at(o, 0) == Approx(0.01));
  CHECK(learning_rate_at(o, 99) == Approx(1.0));
  CHECK(learning_rate_at(o, 599) == Approx(1.0));
  CHECK(learning_rate_at(o, 799) == Approx(0.51));
  CHECK(learning_rate_at(o, 999) == Approx(0.02));
}

TEST_CASE("choices that share a prompt get the score that each would get alone", "[training][scoring]") {
  TrainOptions options = toy_options();
  options.threads = 2;
  const auto trainer = Trainer::create(options).value();
  run_until(*trainer, 20);
  const std::vector<std::uint16_t> prompt = {3, 32, 43, 56, 19};
  const ChoiceItem item{prompt, {{16}, {16, 59, 40}, {1, 2}, {60, 61, 62, 63}}};
  // Many items at once, of different lengths, must not disturb each other either.
  std::vector<ChoiceItem> items(60, item);
  for (std::size_t i = 0; i < items.size(); ++i) items[i].prompt.insert(items[i].prompt.begin(), i % 50, std::uint16_t(i));
  items[7] = item;
  const auto scores = trainer->score_choices(items).value();
  for (std::size_t c = 0; c < item.choices.size(); ++c) {
    std::vector<std::uint16_t> whole = prompt;
    whole.insert(whole.end(), item.choices[c].begin(), item.choices[c].end());
    const auto logits = trainer->logits(whole).value();
    double expected = 0;
    for (std::size_t t = prompt.size(); t < whole.size(); ++t) {
      double sum = 0;
      for (std::size_t v = 0; v < 64; ++v) sum += std::exp(double(logits[(t - 1) * 64 + v]));
      expected += logits[(t - 1) * 64 + whole[t]] - std::log(sum);
    }
    CAPTURE(c);
    CHECK(scores[7][c] == Approx(expected).margin(2e-5));
  }
}

TEST_CASE("questions between steps do not change what training gives", "[training][scoring]") {
  const auto trainer = Trainer::create(toy_options()).value();
  run_until(*trainer, 10);
  const std::vector<ChoiceItem> items(3, {{1, 2, 3}, {{4}, {5, 6}}});
  REQUIRE(trainer->score_choices(items).has_value());
  REQUIRE(trainer->generate(std::vector<std::vector<std::uint16_t>>{{1, 2}, {9}}, 5, 0).has_value());
  run_until(*trainer, 20);
  CHECK(trainer->weights_digest() == golden_digest());
}

TEST_CASE("greedy generation follows the learned rule and ends at the stop, the limit or the context", "[training][scoring]") {
  TrainOptions options = toy_options();
  options.steps = 60, options.threads = 2;
  const auto trainer = Trainer::create(options).value();
  run_until(*trainer, 60);
  const auto next = [](std::uint16_t token) { return std::uint16_t((token * 7 + 11) % 64); };
  std::vector<std::uint16_t> rule = {3};
  for (int i = 0; i < 8; ++i) rule.push_back(next(rule.back()));
  const std::vector<std::vector<std::uint16_t>> prompts = {{rule[0], rule[1], rule[2], rule[3]}};
  const auto continued = trainer->generate(prompts, 3, 64).value();
  CHECK(continued[0] == std::vector<std::uint16_t>{rule[4], rule[5], rule[6]});
  const auto stopped = trainer->generate(prompts, 10, rule[5]).value();
  CHECK(stopped[0] == std::vector<std::uint16_t>{rule[4]});
  const std::vector<std::vector<std::uint16_t>> long_prompt = {std::vector<std::uint16_t>(68, 5)};
  CHECK(trainer->generate(long_prompt, 10, 64).value()[0].size() == 2);
}

TEST_CASE("the mean loss of a sequence is the mean over its tokens after the first", "[training][scoring]") {
  const auto trainer = Trainer::create(toy_options()).value();
  const double loss = trainer->mean_loss(std::vector<std::vector<std::uint16_t>>{{1, 2, 3}, {4, 5}}).value();
  CHECK(loss == Approx(std::log(64.0)).margin(0.1));
}

TEST_CASE("bad input gets one sentence", "[training]") {
  TrainOptions options = toy_options();
  SECTION("a width that is no multiple of 16") {
    options.shape.width = 40;
    CHECK(Trainer::create(options).error().code == Code::kBadShape);
  }
  SECTION("heads that cannot share keys") {
    options.shape.kv_heads = 3;
    CHECK(Trainer::create(options).error().code == Code::kBadShape);
  }
  SECTION("unknown kernels") {
    options.kernels = "avx3";
    CHECK(Trainer::create(options).error().code == Code::kUnsupported);
  }
  SECTION("tokens") {
    const auto trainer = Trainer::create(options).value();
    std::vector<std::uint16_t> tokens(3 * 71, 1);
    CHECK(trainer->train_step(std::span(tokens).first(10)).error().code == Code::kBadShape);
    tokens[5] = 64;
    CHECK(trainer->train_step(tokens).error().code == Code::kBadValue);
    CHECK(trainer->logits({}).error().code == Code::kBadShape);
    const std::vector<ChoiceItem> too_long = {{std::vector<std::uint16_t>(69, 1), {{1, 2}}}};
    CHECK(trainer->score_choices(too_long).error().code == Code::kTooLarge);
  }
  SECTION("a gradient that is not finite leaves weights and step alone") {
    const auto trainer = Trainer::create(options).value();
    trainer->mutable_weights()[0] = std::nanf("");
    std::vector<std::uint16_t> tokens(3 * 71, 0);
    const std::string before = trainer->weights_digest();
    CHECK(trainer->train_step(tokens).error().code == Code::kNonFinite);
    CHECK(trainer->step() == 0);
    CHECK(trainer->weights_digest() == before);
  }
}

TEST_CASE("an exported model holds the weights as F16 under llama.cpp's names", "[training]") {
  const std::string path = place("export.gguf");
  const auto trainer = Trainer::create(toy_options()).value();
  run_until(*trainer, 3);
  REQUIRE(trainer->export_gguf(path, {{"tokenizer.ggml.model", gguf_string("gpt2")}}, "toy").has_value());
  {
    const auto file = GgufFile::open(path).value();
    CHECK(file->get_string("general.architecture").value() == "llama");
    CHECK(file->get_string("tokenizer.ggml.model").value() == "gpt2");
    CHECK(file->get_int("llama.attention.head_count_kv").value() == 2);
    CHECK(file->get_int("llama.embedding_length").value() == 32);
    CHECK(file->get_int("llama.rope.dimension_count").value() == 16);
    CHECK(file->tensors().size() == trainer->tensors().size());
    for (const TensorPlace& place_of : trainer->tensors()) {
      const GgufTensor* tensor = file->find_tensor(place_of.name);
      CAPTURE(place_of.name);
      REQUIRE(tensor != nullptr);
      CHECK(tensor->columns() == place_of.columns);
      CHECK(tensor->rows() == place_of.rows);
      std::vector<float> values(std::size_t(place_of.count()));
      tensor->format->decode(tensor->bytes.data(), place_of.count() / tensor->format->values_per_block, values.data());
      bool equal = true;
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float weight = trainer->weights()[std::size_t(place_of.offset) + i];
        equal = equal && values[i] == (place_of.is_norm ? weight : half_to_float(float_to_half(weight)));
      }
      CHECK(equal);
    }
  }
  SECTION("a weight that F16 cannot hold is an error that names its tensor") {
    trainer->mutable_weights()[1] = 1e6f;
    const Status exported = trainer->export_gguf(path, {}, "toy");
    REQUIRE_FALSE(exported.has_value());
    CHECK(exported.error().code == Code::kNonFinite);
    CHECK(exported.error().detail.find("token_embd.weight") != std::string::npos);
  }
  fs::remove(path);
}
