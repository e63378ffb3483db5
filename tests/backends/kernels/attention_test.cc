#include "backends/kernels/kernels.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>
#include <vector>

using namespace quantfleet;

namespace {

// A cache of one layer, whose unwritten places are NaN: nobody may read meaning into them.
struct Cache {
  int kv_heads, head_dim;
  std::vector<std::vector<float>> memory;
  std::vector<const float*> pages;
  std::vector<float> k, v;  // [positions][kv_heads][head_dim]

  Cache(std::int64_t positions, int kv_heads_, int head_dim_, unsigned seed) : kv_heads(kv_heads_), head_dim(head_dim_) {
    std::mt19937 random(seed);
    const std::int64_t half = std::int64_t(kv_heads) * head_dim * kPagePositions;
    for (std::int64_t p = 0; p < positions; p += kPagePositions)
      memory.emplace_back(std::size_t(2 * half), std::numeric_limits<float>::quiet_NaN());
    for (auto& page : memory) pages.push_back(page.data());
    for (std::int64_t i = 0; i < positions * kv_heads * head_dim; ++i) {
      k.push_back(static_cast<float>(random() >> 8) * 0x1p-22f - 2.0f);
      v.push_back(static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f);
    }
    for (std::int64_t p = 0; p < positions; ++p)
      for (int h = 0; h < kv_heads; ++h) {
        float* page = memory[std::size_t(p / kPagePositions)].data();
        const std::size_t from = std::size_t((p * kv_heads + h) * head_dim);
        store_k(&k[from], head_dim, p, page + h * head_dim * kPagePositions);
        store_v(&v[from], head_dim, p, page + half + h * head_dim * kPagePositions);
      }
  }
};

struct Question {
  std::vector<std::int64_t> positions;
  int heads;
  std::int64_t window = 0;
  float softcap = 0;
  std::vector<float> slopes = {};
};

std::vector<float> attend(const KernelFamily& family, const Cache& cache, const Question& question, ThreadPool& pool) {
  const std::size_t count = question.positions.size(), width = std::size_t(question.heads * cache.head_dim);
  std::vector<float> q, out(count * width);
  for (std::size_t i = 0; i < count; ++i) {  // a query depends on its position alone
    std::mt19937 random(unsigned(1000 + question.positions[i]));
    for (std::size_t d = 0; d < width; ++d) q.push_back(static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f);
  }
  const std::vector<const float* const*> tables(count, cache.pages.data());
  AttentionArgs args;
  args.queries = std::int64_t(count);
  args.q = q.data();
  args.q_stride = std::int64_t(width);
  args.positions = question.positions.data();
  args.pages = tables.data();
  args.heads = question.heads;
  args.kv_heads = cache.kv_heads;
  args.head_dim = cache.head_dim;
  args.kv_head_stride = cache.head_dim * kPagePositions;
  args.v_offset = args.kv_head_stride * cache.kv_heads;
  args.scale = 0.5f;
  args.softcap = question.softcap;
  args.window = question.window;
  args.slopes = question.slopes.empty() ? nullptr : question.slopes.data();
  args.out = out.data();
  args.out_stride = std::int64_t(width);
  MatmulScratch scratch;
  attention(family, args, pool, scratch);
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
}

}  // namespace

TEST_CASE("attention is the softmax-weighted mean of the values it may see", "[attention]") {
  ThreadPool pool(1);
  const Cache cache(40, 1, 8, 1);
  Question question{{33}, 1, 0, 0};
  question.window = GENERATE(0, 5);
  if (GENERATE(false, true)) question.slopes = {0.25f};
  const auto out = attend(**find_kernels("scalar"), cache, question, pool);
  std::mt19937 random(1033);
  std::vector<double> q;
  for (int d = 0; d < 8; ++d) q.push_back(double(random() >> 8) * 0x1p-23 - 1.0);
  double sum = 0;
  std::vector<double> expected(8);
  for (std::size_t i = question.window ? 29 : 0; i <= 33; ++i) {
    double score = 0;
    for (std::size_t d = 0; d < 8; ++d) score += q[d] * double(cache.k[i * 8 + d]);
    const double p = std::exp(0.5 * score - (question.slopes.empty() ? 0 : 0.25 * double(33 - i)));
    sum += p;
    for (std::size_t d = 0; d < 8; ++d) expected[d] += p * double(cache.v[i * 8 + d]);
  }
  for (std::size_t d = 0; d < 8; ++d) CHECK(out[d] == Approx(expected[d] / sum).epsilon(1e-5));
}

TEST_CASE("slopes are powers of two, and heads beyond a power of two take those between", "[attention]") {
  CHECK(alibi_slopes(8, 8) == std::vector<float>{0.5f, 0.25f, 0.125f, 0x1p-4f, 0x1p-5f, 0x1p-6f, 0x1p-7f, 0x1p-8f});
  const auto twelve = alibi_slopes(12, 8);
  for (std::size_t i = 0; i < 4; ++i) CHECK(twelve[8 + i] == Approx(std::pow(2.0, -0.5 - double(i))).epsilon(1e-6));
}

TEST_CASE("every family attends to the scalar kernels' bits", "[attention]") {
  ThreadPool one(1), three(3);
  struct Shape {
    int heads, kv_heads, head_dim;
  };
  constexpr std::int64_t kWindows[] = {0, 1, 20, 1000};
  constexpr float kSoftcaps[] = {0.0f, 5.0f, -1.0f};  // -1: slopes instead
  int number = 0;
  for (const Shape shape : {Shape{1, 1, 64}, {8, 2, 32}, {3, 3, 80}, {20, 1, 16}, {6, 2, 130}, {16, 2, 64}}) {
    const Cache cache(150, shape.kv_heads, shape.head_dim, 3);
    ++number;
    for (std::size_t w = 0; w < std::size(kWindows); ++w)
      for (std::size_t c = 0; c < std::size(kSoftcaps); ++c) {
        if (number > 1 && (w + c + std::size_t(number)) % 3 != 0) continue;  // all pairs of shape, window and cap; one shape with all of them
        const std::int64_t window = kWindows[w];
        const float softcap = kSoftcaps[c];
        Question question{{}, shape.heads, window, std::max(softcap, 0.0f)};
        if (softcap < 0) question.slopes = alibi_slopes(shape.heads, 8);
        for (std::int64_t p = 0; p < 150; p += p < 20 || p > 125 ? 1 : 17) question.positions.push_back(p);
        const auto truth = attend(**find_kernels("scalar"), cache, question, one);
        for (const KernelFamily* family : available_kernels())
          for (ThreadPool* pool : {&one, &three}) {
            if (family->name == "scalar" && (pool == &one || number > 2)) continue;  // its loop over queries does not depend on the shape
            CAPTURE(family->name, shape.heads, shape.kv_heads, shape.head_dim, window, softcap, pool->threads());
            CHECK(same_bits(attend(*family, cache, question, *pool), truth));
          }
      }
  }
}

TEST_CASE("a query's answer does not depend on its companions", "[attention]") {
  ThreadPool pool(2);
  const Cache cache(100, 2, 64, 9);
  for (const KernelFamily* family : available_kernels()) {
    const auto together = attend(*family, cache, {{40, 41, 42, 43, 44, 99, 0}, 4, 0, 0}, pool);
    const std::int64_t positions[] = {40, 41, 42, 43, 44, 99, 0};
    for (std::size_t i = 0; i < 7; ++i) {
      const auto alone = attend(*family, cache, {{positions[i]}, 4, 0, 0}, pool);
      CHECK(std::memcmp(alone.data(), together.data() + i * alone.size(), alone.size() * 4) == 0);
    }
  }
}
