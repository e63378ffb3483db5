// Nothing that saves time may change a bit: random trees of requests, evaluated together, in any order, on several threads and with
// hardly any room for keys and values, against each request alone in an engine that knows nothing of the others.
#include "backends/kernels/kv_pages.h"
#include "tests/backends/engines/engine_answers.h"

#include <algorithm>
#include <random>

namespace quantfleet {
namespace {

using namespace test;

std::string random_text(std::mt19937& random, std::size_t longest) {
  static constexpr std::string_view kPieces[] = {"a", "the ", "b", " tok9", "x y", "th", "\n", "zebra"};
  std::string text;
  for (std::size_t i = 0, count = 1 + random() % longest; i < count; ++i) text += kPieces[random() % std::size(kPieces)];
  return text;
}

// Headers with stems with requests below them, some twice; contexts of the model's length and beyond among them.
std::vector<Request> random_requests(unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Request> requests;
  for (std::size_t h = 0, headers = 1 + random() % 3; h < headers; ++h) {
    const std::string header = random() % 4 ? random_text(random, 24) : "";
    for (std::size_t s = 0, stems = 1 + random() % 4; s < stems; ++s) {
      const std::string stem = header + random_text(random, random() % 9 ? 12 : 60);
      for (std::size_t r = 0, count = 1 + random() % 3; r < count; ++r) {
        const std::string text = random() % 2 ? stem : stem + random_text(random, 3);
        if (random() % 3) {
          Loglikelihood request{text, {}};
          for (std::size_t c = 0, choices = 1 + random() % 4; c < choices; ++c) request.continuations.push_back(random_text(random, 4));
          requests.push_back(request);
        } else {
          requests.push_back(Generate{text, {"zebra"}, static_cast<int>(random() % 8), random() % 2 ? 0.9f : 0.0f, random()});
        }
        if (random() % 5 == 0) requests.push_back(requests.back());
      }
    }
  }
  std::shuffle(requests.begin(), requests.end(), random);
  return requests;
}

TEST_CASE("grouping, order, threads, reuse and eviction never change a bit, whatever the cache holds", "[engines]") {
  const auto [kv, format, kernels_alone, seeds] = GENERATE(table<std::string, std::string, std::string, unsigned>(
      {{"f32", "F32", "", 6}, {"f32", "Q8_0", "", 3}, {"f16", "Q8_0", "", 3}, {"q8_0", "F32", "scalar", 1}, {"q4_0", "Q8_0", "", 3}}));
  const fs::path path = model(shape_of(format));
  auto alone = engine(path, 1, Activations::kDefault, kernels_alone, kv);
  auto together = engine(path, 1, Activations::kDefault, "", kv);
  auto threads = engine(path, 3, Activations::kDefault, "", kv);
  auto cramped = engine(path, 2, Activations::kDefault, "", kv, 1);
  auto tight = engine(path, 1, Activations::kDefault, "", kv, 6 * KvCache(together->model().config, *find_kv_kind(kv)).page_bytes());
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    const std::vector<Request> requests = random_requests(seed);
    std::vector<std::string> expected;
    for (const Request& request : requests) {
      alone->forget();
      expected.push_back(bits(answers(*alone, {request}).at(0)));
    }
    CAPTURE(kv, format, seed, requests.size());
    for (NativeEngine* engine : {together.get(), threads.get(), cramped.get(), tight.get()}) {  // the cache is warm from the seed before
      const auto given = answers(*engine, requests);
      for (std::size_t i = 0; i < requests.size(); ++i) CHECK(bits(given.at(i)) == expected[i]);
    }
    const std::vector<Request> backwards(requests.rbegin(), requests.rend());
    const auto given = answers(*together, backwards);
    for (std::size_t i = 0; i < requests.size(); ++i) CHECK(bits(given.at(requests.size() - 1 - i)) == expected[i]);
  }
}

TEST_CASE("what the cache holds changes the numbers, and its size", "[engines]") {
  const fs::path path = model(shape_of("F32"));
  const std::vector<Request> requests = {Loglikelihood{"some context that is long enough to matter", {" and more", " or less"}}};
  std::vector<double> scores;
  std::vector<std::int64_t> sizes;
  for (const char* kv : {"f32", "f16", "q8_0", "q4_0"}) {
    auto native = engine(path, 1, Activations::kDefault, "", kv);
    CHECK(native->info().kv == kv);
    scores.push_back(std::get<LoglikelihoodAnswer>(answers(*native, requests).at(0).value().answer).continuations[0].loglikelihood);
    sizes.push_back(native->kv_cache_bytes());
  }
  CHECK(scores[1] == Approx(scores[0]).epsilon(1e-3));
  CHECK(scores[2] == Approx(scores[0]).epsilon(1e-2));
  CHECK(scores[3] == Approx(scores[0]).epsilon(0.1));
  for (std::size_t i = 1; i < 4; ++i) {
    CHECK(scores[i] != scores[0]);
    CHECK(sizes[i] < sizes[i - 1]);
  }
  EngineOptions options;
  options.model = path;
  options.kv = "q2_k";
  CHECK(NativeEngine::open(options).error().code == Code::kUnknownName);
}

TEST_CASE("the cache stays below its limit, and one text may take more", "[engines]") {
  const fs::path path = model(shape_of("F32"));
  auto roomy = engine(path);
  const std::int64_t page = KvCache(roomy->model().config).page_bytes();
  std::vector<Request> requests;
  for (int i = 0; i < 40; ++i) requests.push_back(Loglikelihood{std::to_string(i) + std::string(100, 'a'), {"b", "c"}});
  for (int i = 0; i < 40; ++i) requests.push_back(Generate{std::to_string(i) + std::string(60, 'a'), {}, 20, 0, 0});
  auto bounded = engine(path, 1, Activations::kDefault, "", "f32", 20 * page);
  answers(*bounded, requests);
  CHECK(bounded->kv_cache_bytes() <= 20 * page);
  answers(*roomy, requests);
  CHECK(roomy->kv_cache_bytes() > 20 * page);
  auto single = engine(path, 1, Activations::kDefault, "", "f32", 1);
  for (const auto& [index, response] : answers(*single, requests)) CHECK(response.has_value());
  CHECK(single->kv_cache_bytes() <= 12 * page);
}

TEST_CASE("a shared beginning is read once, at any depth and in any order", "[engines]") {
  auto native = engine(model(shape_of("F32")));
  std::vector<Request> requests;
  for (int stem = 0; stem < 3; ++stem)
    for (int i = 0; i < 4; ++i)  // the same stems meet again and again
      requests.push_back(Loglikelihood{std::string(40, 'h') + std::string(10, static_cast<char>('p' + stem)), {"xy", std::string(1, static_cast<char>('A' + i)) + "z"}});
  std::shuffle(requests.begin(), requests.end(), std::mt19937(3));
  answers(*native, requests);
  const std::int64_t read = native->tokens_read();
  // The header, three stems, and below each: "x", and one token in front of "z" of four requests.
  CHECK(read == 40 + 3 * (10 + 1 + 4));
  answers(*native, {Loglikelihood{std::string(40, 'h') + "new", {"q"}}});
  CHECK(native->tokens_read() - read == 3);  // the header is there from the call before
}

}  // namespace
}  // namespace quantfleet
