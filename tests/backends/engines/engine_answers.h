// What the engine's tests share: random models in a temporary folder, engines over them, and the part of an answer that must not
// depend on how it was computed.
#pragma once

#include "backends/engines/native.h"
#include "tests/folder.h"
#include "tests/random_model.h"

#include <catch2/catch.hpp>

#include <map>
#include <string>
#include <vector>

namespace quantfleet::test {

namespace fs = std::filesystem;
using test::Folder;

// A folder that goes away with the test.
inline fs::path model(const RandomModel& shape) {
  static Folder folder;
  const fs::path path = folder.path / fmt::format("{}_{}_{}_{}_{}.gguf", shape.format, shape.width, shape.tied, shape.adds_bos, shape.context);
  if (!fs::exists(path)) {
    const auto status = write_random_model(path, shape);
    if (!status) FAIL(status.error().detail);
  }
  return path;
}

inline RandomModel shape_of(const std::string& format) {
  RandomModel shape;
  shape.format = format;
  if (format.ends_with("_K")) shape.width = shape.feed_forward = 256;
  return shape;
}

inline std::unique_ptr<NativeEngine> engine(const fs::path& path, int threads = 1, Activations activations = Activations::kDefault,
                                            const std::string& kernels = "", const std::string& kv = "f32", std::int64_t kv_cache_bytes = 0) {
  EngineOptions options;
  options.kv = kv;
  options.kv_cache_bytes = kv_cache_bytes;
  options.model = path;
  options.threads = threads;
  options.activations = activations;
  options.kernels = kernels;
  auto opened = NativeEngine::open(options);
  if (!opened) FAIL(opened.error().detail);
  return std::move(*opened);
}

inline std::map<std::size_t, Result<Response>> answers(Engine& engine, const std::vector<Request>& requests) {
  std::map<std::size_t, Result<Response>> all;
  engine.answer(requests, [&](std::size_t index, Result<Response> response) {
    CHECK(all.emplace(index, std::move(response)).second);
    return true;
  });
  CHECK(all.size() == requests.size());
  return all;
}

// Everything of a response that must not depend on how it was computed.
inline std::string bits(const Result<Response>& response) {
  if (!response) return "error: " + response.error().detail;
  std::string text = response->logits_digest;
  if (const auto* scores = std::get_if<LoglikelihoodAnswer>(&response->answer))
    for (const auto& score : scores->continuations) text += fmt::format(" {:a} {} {}", score.loglikelihood, score.is_greedy, score.count_tokens);
  if (const auto* rolling = std::get_if<RollingLoglikelihoodAnswer>(&response->answer))
    text += fmt::format(" {:a} {:a} {}", rolling->nll_sum, rolling->nll_squared_sum, rolling->count_tokens);
  if (const auto* generated = std::get_if<GenerateAnswer>(&response->answer))
    text += fmt::format(" '{}' {} {}", generated->text, generated->token_ids.size(), static_cast<int>(generated->stop));
  return text;
}

}  // namespace quantfleet::test
