// What training computes and what inference computes are two programs for one model: an exported file gives the logits that
// the trainer has for the rounded weights.
#include "tests/paths.h"
#include "tests/backends/training/toy.h"

#include "backends/formats/half_float.h"
#include "backends/models/transformer.h"
#include "tests/shared_data.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <vector>

using namespace quantfleet;

TEST_CASE("inference over an exported model gives the trainer's logits", "[training][export]") {
  training::TrainOptions options = training::toy_options();
  options.steps = 60;
  const auto trainer = training::Trainer::create(options).value();
  std::vector<std::uint16_t> tokens(3 * 71);
  while (!trainer->finished()) {
    training::toy_tokens(trainer->step(), tokens);
    REQUIRE(trainer->train_step(tokens).has_value());
  }
  const std::filesystem::path path =
      test::binary_dir() / ("training_export_" + std::to_string(::getpid()) + ".gguf");
  REQUIRE(trainer->export_gguf(path, {}, "toy").has_value());
  for (const training::TensorPlace& tensor : trainer->tensors())
    if (!tensor.is_norm)
      for (float& weight : trainer->mutable_weights().subspan(std::size_t(tensor.offset), std::size_t(tensor.count())))
        weight = half_to_float(float_to_half(weight));

  const std::vector<std::uint16_t> text(tokens.begin(), tokens.begin() + 70);
  const std::vector<float> expected = trainer->logits(text).value();
  ThreadPool pool(2);
  const KernelFamily* family = find_kernels("").value();
  const auto model = load_model(GgufFile::open(path).value(), *family, pool, false).value();
  Transformer transformer(model, ActivationKind::kF32, pool);
  KvCache cache(model->config);
  KvSequence sequence(cache);
  const std::vector<std::int32_t> ids(text.begin(), text.end());
  double largest = 0, difference = 0;
  std::size_t rows = 0;
  const Transformer::Segment segment{&sequence, ids, 0};
  const Status done = transformer.forward(std::span(&segment, 1), [&](std::size_t, std::int64_t token, std::span<const float> logits) {
    ++rows;
    for (std::size_t v = 0; v < 64; ++v) {
      const double e = expected[std::size_t(token) * 64 + v];
      largest = std::max(largest, std::fabs(e));
      difference = std::max(difference, std::fabs(logits[v] - e));
    }
  });
  REQUIRE(done.has_value());
  CHECK(rows == 70);
  CHECK(largest > 3.0);         // it has learned something
  CHECK(difference < 1e-4);     // F32 rounding in other orders; a wrong pairing, scale or mask gives far more
  std::filesystem::remove(path);
}
