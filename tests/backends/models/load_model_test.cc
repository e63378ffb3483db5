#include "backends/models/sampler.h"
#include "backends/models/transformer.h"
#include "tests/random_model.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <map>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;

// Bytes of a random model; edits change the file before it is read.
std::string model_bytes(const test::RandomModel& shape = {}) {
  const fs::path path = fs::temp_directory_path() / ("quantfleet_load_" + std::to_string(::getpid()) + ".gguf");
  REQUIRE(test::write_random_model(path, shape).has_value());
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  fs::remove(path);
  return bytes;
}

void rename(std::string& bytes, const std::string& from, const std::string& to) {
  REQUIRE(from.size() == to.size());
  const std::size_t at = bytes.find(from);
  REQUIRE(at != std::string::npos);
  bytes.replace(at, from.size(), to);
}

Result<std::shared_ptr<const Model>> load(const std::string& bytes) {
  ThreadPool pool(1);
  const auto file = GgufFile::parse(std::as_bytes(std::span(bytes)), "test.gguf");
  if (!file) return file.error();
  return load_model(*file, *find_kernels("scalar").value(), pool, false);
}

// Puts a number of four bytes behind a metadata key (uint32 and float32 values).
template <class Number>
void set_value(std::string& bytes, const std::string& key, Number number) {
  static_assert(sizeof(Number) == 4);
  const std::size_t at = bytes.find(key);
  REQUIRE(at != std::string::npos);
  std::memcpy(&bytes[at + key.size() + 4], &number, 4);
}

TEST_CASE("a whole model loads, tied or with its own output matrix", "[models]") {
  test::RandomModel shape;
  shape.tied = GENERATE(false, true);
  const std::string bytes = model_bytes(shape);
  const auto model = load(bytes);
  REQUIRE(model.has_value());
  CHECK((*model)->config.layers == 2);
  CHECK((*model)->config.head_width == 16);
  CHECK((*model)->output.rows == 300);
  CHECK((*model)->format == "F32");
  CHECK_FALSE((*model)->has_int8);
}

TEST_CASE("an architecture that is not known is named", "[models]") {
  std::string bytes = model_bytes();
  const std::size_t at = bytes.find("general.architecture");
  bytes.replace(bytes.find("llama", at), 5, "lamma");
  const auto model = load(bytes);
  REQUIRE(model.has_error());
  CHECK(model.error().code == Code::kUnknownArchitecture);
  CHECK(model.error().detail.find("'lamma'") != std::string::npos);
}

TEST_CASE("what is wrong with a tensor is said with its name", "[models]") {
  std::string bytes = model_bytes();
  SECTION("missing, and another one that nobody knows") {
    rename(bytes, "blk.1.ffn_up.weight", "blk.1.ffn_xx.weight");
    const auto model = load(bytes);
    REQUIRE(model.has_error());
    CHECK(model.error().code == Code::kNotFound);
    CHECK(model.error().detail.find("blk.1.ffn_up.weight") != std::string::npos);
  }
  SECTION("an extra one is not silently ignored") {
    const std::string length = std::string("\x0d") + std::string(7, '\0');  // so that attn_output.weight is not meant
    rename(bytes, length + "output.weight", length + "output_weigh1");  // then the embedding is the output matrix
    const auto model = load(bytes);
    REQUIRE(model.has_error());
    CHECK(model.error().code == Code::kUnsupported);
    CHECK(model.error().detail.find("output_weigh1") != std::string::npos);
  }
  SECTION("another shape than the metadata promise") {
    set_value(bytes, "llama.feed_forward_length", std::uint32_t{192});
    const auto model = load(bytes);
    REQUIRE(model.has_error());
    CHECK(model.error().code == Code::kBadShape);
    CHECK(model.error().detail.find("ffn_gate") != std::string::npos);
  }
  SECTION("a value that is no number") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(&bytes[bytes.size() - 64], &nan, 4);  // the last tensor is output.weight
    const auto model = load(bytes);
    REQUIRE(model.has_error());
    CHECK(model.error().code == Code::kNonFinite);
    CHECK(model.error().detail.find("output.weight") != std::string::npos);
  }
}

TEST_CASE("hostile shapes are refused with the key", "[models]") {
  std::string bytes = model_bytes();
  const auto refused = [&](const char* key) {
    const auto model = load(bytes);
    REQUIRE(model.has_error());
    CAPTURE(model.error().detail);
    CHECK(model.error().detail.find(key) != std::string::npos);
  };
  SECTION("no heads") { set_value(bytes, "llama.attention.head_count", std::uint32_t{0}), refused("attention.head_count"); }
  SECTION("too many layers") { set_value(bytes, "llama.block_count", std::uint32_t{2000000000}), refused("block_count"); }
  SECTION("an odd rotary width") { set_value(bytes, "llama.rope.dimension_count", std::uint32_t{15}), refused("rope.dimension_count"); }
  SECTION("a rotary width beyond the head") { set_value(bytes, "llama.rope.dimension_count", std::uint32_t{64}), refused("rope.dimension_count"); }
  SECTION("an epsilon that is no number") {
    set_value(bytes, "llama.attention.layer_norm_rms_epsilon", std::numeric_limits<float>::quiet_NaN()), refused("epsilon");
  }
  SECTION("heads that do not divide") { set_value(bytes, "llama.attention.head_count_kv", std::uint32_t{3}), refused("key-value heads"); }
}

TEST_CASE("logits do not depend on chunks or company", "[models]") {
  const std::string bytes = model_bytes();
  const auto model = load(bytes).value();
  ThreadPool pool(2);
  KvCache cache(model->config);
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < 50; ++i) tokens.push_back((i * 37) % 300);
  const auto run = [&](std::int64_t chunk_rows, std::size_t split, bool company) {
    Transformer transformer(model, ActivationKind::kF32, pool, chunk_rows);
    KvSequence sequence(cache), other(cache);
    std::vector<float> all;
    for (std::size_t begin = 0; begin < tokens.size(); begin += split) {
      const auto part = std::span<const std::int32_t>(tokens).subspan(begin, std::min(split, tokens.size() - begin));
      std::vector<Transformer::Segment> segments = {{&sequence, part, 0}};
      if (company) segments.insert(segments.begin(), {&other, std::span<const std::int32_t>(tokens).last(7), 3});
      const auto status = transformer.forward(segments, [&](std::size_t s, std::int64_t, std::span<const float> row) {
        if (s + 1 == segments.size()) all.insert(all.end(), row.begin(), row.end());
      });
      REQUIRE(status.has_value());
    }
    return all;
  };
  const auto expected = run(256, 50, false);
  CHECK(expected.size() == 50 * 300);
  CHECK(run(1, 50, false) == expected);
  CHECK(run(7, 50, true) == expected);
  CHECK(run(256, 1, false) == expected);
  CHECK(run(16, 13, true) == expected);
}

TEST_CASE("tokens outside the vocabulary and positions beyond the context are errors before anything is computed", "[models]") {
  const std::string bytes = model_bytes();
  const auto model = load(bytes).value();
  ThreadPool pool(1);
  KvCache cache(model->config);
  KvSequence sequence(cache);
  Transformer transformer(model, ActivationKind::kF32, pool);
  transformer.set_context_tokens(4);
  const auto none = [](std::size_t, std::int64_t, std::span<const float>) { FAIL("nothing may be computed"); };
  const std::vector<std::int32_t> high = {1, 300}, low = {-1}, many = {1, 2, 3, 4, 5};
  for (const auto& tokens : {high, low, many}) {
    const Transformer::Segment segment{&sequence, tokens, 0};
    CHECK(transformer.forward({&segment, 1}, none).has_error());
    CHECK(sequence.length() == 0);
  }
}

TEST_CASE("draws follow the distribution, and the seed alone decides them", "[models][sampler]") {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f, -50.0f};
  CHECK(sample_token(logits, 0, 1, 0) == 2);
  CHECK(sample_token(std::vector<float>{1, 3, 3}, 0, 1, 0) == 1);  // ties to the lowest id
  std::map<std::int32_t, int> counts;
  for (std::uint64_t step = 0; step < 10000; ++step) {
    const std::int32_t token = sample_token(logits, 1.0f, 7, step);
    CHECK(token == sample_token(logits, 1.0f, 7, step));
    ++counts[token];
  }
  // e^0 : e^1 : e^2 of their sum, within four standard deviations of 10000 draws.
  CHECK(std::abs(counts[0] - 900) < 115);
  CHECK(std::abs(counts[1] - 2447) < 172);
  CHECK(std::abs(counts[2] - 6652) < 189);
  CHECK(counts[3] == 0);

  // top_p 0.9: the two likeliest tokens hold 0.9099 together, the others are never drawn; e^1 : e^2 between them.
  counts.clear();
  for (std::uint64_t step = 0; step < 10000; ++step) ++counts[sample_token(logits, 1.0f, 7, step, 0.9f)];
  CHECK(counts[0] == 0);
  CHECK(std::abs(counts[1] - 2689) < 178);
  CHECK(sample_token(logits, 1.0f, 7, 3, 0.5f) == 2);
}

}  // namespace
}  // namespace quantfleet
