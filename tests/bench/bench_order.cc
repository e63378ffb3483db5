// What bit-identity costs: the kernels of this program, whose order of operations numerics.md fixes, against the fastest order that we
// can write for AVX-512, on one thread and the shapes of a 1B Llama. Integers inside blocks are exact in any order and cost nothing, so
// what is left are F32 products, norms and attention. Both sides run in turn; medians of the ratios are printed, nothing is asserted.
// The attention of this program is also printed as a share of the F32 ceiling.
// Run: bench_order [repetitions]
#include "backends/kernels/ceilings.h"
#include "backends/kernels/kernels.h"

#include <fmt/format.h>
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <random>
#include <vector>

using namespace quantfleet;

namespace {

#define AVX512 __attribute__((target("avx512f,avx512dq")))

// y[n] = w[n] x with 16 partial sums per row and chain, 4 rows with 2 chains each: the order of most libraries.
AVX512 void free_product(const float* w, const float* x, std::int64_t rows, std::int64_t columns, float* y) {
  for (std::int64_t n = 0; n < rows; n += 4) {
    __m512 sums[4][2] = {};
    for (std::int64_t k = 0; k < columns; k += 32)
      for (int r = 0; r < 4; ++r)
        for (int half = 0; half < 2; ++half)
          sums[r][half] = _mm512_fmadd_ps(_mm512_loadu_ps(w + (n + r) * columns + k + 16 * half), _mm512_loadu_ps(x + k + 16 * half), sums[r][half]);
    for (int r = 0; r < 4; ++r) y[n + r] = _mm512_reduce_add_ps(_mm512_add_ps(sums[r][0], sums[r][1]));
  }
}

AVX512 void free_rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* y) {
  __m512 sums[4] = {};
  for (std::int64_t i = 0; i < n; i += 64)
    for (int p = 0; p < 4; ++p) {
      const __m512 v = _mm512_loadu_ps(x + i + 16 * p);
      sums[p] = _mm512_fmadd_ps(v, v, sums[p]);
    }
  const float sum = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
  const __m512 scale = _mm512_set1_ps(1 / std::sqrt(sum / static_cast<float>(n) + eps));
  for (std::int64_t i = 0; i < n; i += 16)
    _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_mul_ps(_mm512_loadu_ps(x + i), scale), _mm512_loadu_ps(weight + i)));
}

// 2^x by five terms.
AVX512 inline __m512 exp2_quick(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(x, 0), r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(1.3333558e-3f);
  for (const float c : {9.6181291e-3f, 5.5504109e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.0f}) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
  return _mm512_scalef_ps(p, n);
}

// Eight heads of one query over one KV head of 64 values (K [page][64][16], V [page][16][64]), 32 keys at a time with a running
// maximum (Milakov and Gimelshein 2018; Dao et al. 2022): what is kept stays in the first-level cache.
AVX512 void free_attention(const float* q, const float* const* pages, std::int64_t v_offset, std::int64_t keys, float scale, float* out) {
  constexpr int kHeads = 8, kDim = 64;
  alignas(64) float p[kHeads][32];
  alignas(64) float sums[kHeads][kDim] = {};
  float largest[kHeads], total[kHeads] = {};
  std::fill_n(largest, kHeads, -INFINITY);
  for (std::int64_t page = 0; 16 * page < keys; page += 2) {
    __m512 score[kHeads][2] = {};
    const float *k0 = pages[page], *k1 = pages[page + 1];
    for (int d = 0; d < kDim; ++d) {
      const __m512 a = _mm512_loadu_ps(k0 + 16 * d), b = _mm512_loadu_ps(k1 + 16 * d);
#pragma GCC unroll 8
      for (int h = 0; h < kHeads; ++h) {
        const __m512 v = _mm512_set1_ps(q[h * kDim + d]);
        score[h][0] = _mm512_fmadd_ps(v, a, score[h][0]);
        score[h][1] = _mm512_fmadd_ps(v, b, score[h][1]);
      }
    }
    const __m512 unit = _mm512_set1_ps(scale * 1.44269504f);
    for (int h = 0; h < kHeads; ++h) {
      score[h][0] = _mm512_mul_ps(score[h][0], unit);
      score[h][1] = _mm512_mul_ps(score[h][1], unit);
      const float now = std::max(largest[h], _mm512_reduce_max_ps(_mm512_max_ps(score[h][0], score[h][1])));
      if (now > largest[h]) {
        const float shrink = std::exp2(largest[h] - now);
        total[h] *= shrink;
        for (int d = 0; d < kDim; d += 16) _mm512_store_ps(sums[h] + d, _mm512_mul_ps(_mm512_load_ps(sums[h] + d), _mm512_set1_ps(shrink)));
        largest[h] = now;
      }
      const __m512 m = _mm512_set1_ps(now), a = exp2_quick(_mm512_sub_ps(score[h][0], m)), b = exp2_quick(_mm512_sub_ps(score[h][1], m));
      _mm512_store_ps(p[h], a);
      _mm512_store_ps(p[h] + 16, b);
      total[h] += _mm512_reduce_add_ps(_mm512_add_ps(a, b));
    }
    for (int h = 0; h < kHeads; h += 4) {
      __m512 acc[4][4];
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r)
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) acc[r][i] = _mm512_load_ps(sums[h + r] + 16 * i);
      for (int key = 0; key < 32; ++key) {
        const float* v = pages[page + key / 16] + v_offset + (key % 16) * kDim;
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r)
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) acc[r][i] = _mm512_fmadd_ps(_mm512_set1_ps(p[h + r][key]), _mm512_loadu_ps(v + 16 * i), acc[r][i]);
      }
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r)
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) _mm512_store_ps(sums[h + r] + 16 * i, acc[r][i]);
    }
  }
  for (int h = 0; h < kHeads; ++h)
    for (int d = 0; d < kDim; ++d) out[h * kDim + d] = sums[h][d] / total[h];
}

double seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::vector<float> random_floats(std::size_t count) {
  std::mt19937 random(1);
  std::vector<float> values(count);
  for (float& v : values) v = static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f;
  return values;
}

// Ours and the free order in turn; the largest relative difference of their results shows that both compute the same thing.
void compare(const char* what, int repetitions, const std::function<void()>& ours, const std::vector<float>& our_result,
             const std::function<void()>& free_order, const std::vector<float>& free_result, double count_fmas = 0) {
  CeilingMeter meter(1);
  std::vector<double> ratio, our_ms, free_ms, share;
  for (int i = 0; i < repetitions; ++i) {
    const Ceilings before = meter.measure();  // also empties the caches
    free_order();                             // both find what fits into the last cache there
    our_ms.push_back(1e3 * seconds(ours));
    free_ms.push_back(1e3 * seconds(free_order));
    ratio.push_back(our_ms.back() / free_ms.back());
    share.push_back(count_fmas / (our_ms.back() / 1e3) / larger(before, meter.measure()).f32_fmas_per_s);
  }
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < our_result.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(our_result[i]) - static_cast<double>(free_result[i])));
    size = std::max(size, std::abs(static_cast<double>(free_result[i])));
  }
  fmt::print("{:<44} ours {:9.4f} ms   free {:9.4f} ms   ours / free {:5.2f}   difference {:.1e}", what, median(our_ms), median(free_ms),
             median(ratio), difference / size);
  if (count_fmas > 0) fmt::print("   {:4.2f} of the F32 ceiling", median(share));
  fmt::print("\n");
  std::fflush(stdout);
}

void compare_attention(const KernelFamily& family, ThreadPool& pool, std::int64_t keys, std::int64_t queries, int repetitions) {
  constexpr int kHeads = 32, kKvHeads = 4, kDim = 64;
  const std::int64_t head_floats = std::int64_t{kDim} * kPagePositions, page_floats = 2 * head_floats * kKvHeads;
  const auto cache = random_floats(static_cast<std::size_t>(keys / kPagePositions * page_floats));
  std::vector<const float*> table;
  for (std::int64_t page = 0; page < keys / kPagePositions; ++page) table.push_back(cache.data() + page * page_floats);
  const std::vector<const float* const*> tables(static_cast<std::size_t>(queries), table.data());
  const std::vector<std::int64_t> positions(static_cast<std::size_t>(queries), keys - 1);
  const auto q = random_floats(static_cast<std::size_t>(queries * kHeads * kDim));
  std::vector<float> out(q.size()), free_out(q.size());
  AttentionArgs args;
  args.queries = queries;
  args.q = q.data();
  args.q_stride = args.out_stride = kHeads * kDim;
  args.positions = positions.data();
  args.pages = tables.data();
  args.heads = kHeads, args.kv_heads = kKvHeads, args.head_dim = kDim;
  args.kv_head_stride = head_floats;
  args.v_offset = head_floats * kKvHeads;
  args.scale = 0.125f;
  args.out = out.data();
  MatmulScratch scratch;
  std::vector<std::vector<const float*>> head_tables;
  for (int h = 0; h < kKvHeads; ++h) {
    head_tables.push_back(table);
    for (const float*& page : head_tables.back()) page += h * head_floats;
  }
  compare(fmt::format("attention, {} queries, {} keys", queries, keys).c_str(), repetitions,
          [&] { attention(family, args, pool, scratch); }, out,
          [&] {
            for (std::int64_t i = 0; i < queries; ++i)
              for (int h = 0; h < kKvHeads; ++h) {
                const std::int64_t place = i * kHeads * kDim + h * (kHeads / kKvHeads) * kDim;
                free_attention(q.data() + place, head_tables[static_cast<std::size_t>(h)].data(), args.v_offset, keys, args.scale, free_out.data() + place);
              }
          },
          free_out, 2.0 * static_cast<double>(queries * keys) * kHeads * kDim);
}

}  // namespace

int main(int argc, char** argv) {
  const int repetitions = argc > 1 ? std::max(1, std::atoi(argv[1])) : 9;
  const auto family = find_kernels("avx512_vnni");
  if (!family) {
    fmt::print(stderr, "{}\n", family.error().detail);
    return 2;
  }
  ThreadPool pool(1);
  {
    constexpr std::int64_t kRows = 5632, kColumns = 2048;
    const auto w = random_floats(kRows * kColumns), x = random_floats(kColumns);
    const WeightMatrix packed = *WeightMatrix::pack_floats(**family, w, kRows, kColumns, pool);
    std::vector<float> y(kRows), free_y(kRows);
    MatmulScratch scratch;
    compare("F32 product, 1 token, 5632 x 2048", repetitions,
            [&] { matmul(packed, x.data(), 1, kColumns, ActivationKind::kF32, y.data(), kRows, pool, scratch); }, y,
            [&] { free_product(w.data(), x.data(), kRows, kColumns, free_y.data()); }, free_y);
  }
  {
    const auto x = random_floats(2048), weight = random_floats(2048);
    std::vector<float> y(2048), free_y(2048);
    compare("RMS norm, 1000 times 2048", repetitions,
            [&] { for (int i = 0; i < 1000; ++i) (*family)->rms_norm(x.data(), weight.data(), 2048, 1e-5f, y.data()); }, y,
            [&] { for (int i = 0; i < 1000; ++i) free_rms_norm(x.data(), weight.data(), 2048, 1e-5f, free_y.data()); }, free_y);
  }
  for (const std::int64_t keys : {512, 4096}) {
    compare_attention(**family, pool, keys, 1, repetitions);
    compare_attention(**family, pool, keys, 64, repetitions);
  }
}
