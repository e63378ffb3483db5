// Keys and values that are rounded when they are stored: the rounding by its definition, every family's decoding, and attention
// over them against attention over the floats that the stored bits stand for.
#include "backends/kernels/kv_pages.h"

#include "backends/formats/half_float.h"
#include "backends/kernels/cpu/tasks.h"
#include "backends/kernels/kernels.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace quantfleet {
namespace {

constexpr KvKind kStored[] = {KvKind::kF16, KvKind::kQ8_0, KvKind::kQ4_0};

std::vector<float> random_values(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = std::ldexp(static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f, static_cast<int>(random() % 5) - 2);
  return values;
}

struct Page {
  int head_dim;
  std::vector<std::byte> bytes;
  std::vector<float> k, v;  // decoded: [head_dim][16], [16][head_dim]

  Page(KvKind kind, int n) : head_dim(n), bytes(static_cast<std::size_t>(kv_head_bytes(kind, n))) {}
  void decode(const KernelFamily& family, KvKind kind) {
    k.assign(static_cast<std::size_t>(16 * head_dim), -1);
    v = k;
    const auto load = family.load_kv && head_dim % 32 == 0 ? family.load_kv : (*find_kernels("scalar"))->load_kv;
    load({kind, head_dim, reinterpret_cast<const unsigned char*>(bytes.data()), k.data(), v.data()});
  }
};

const KernelFamily& scalar_family() { return **find_kernels("scalar"); }

TEST_CASE("a stored block is rounded as its definition says", "[kernels]") {
  const auto kind = GENERATE(KvKind::kF16, KvKind::kQ8_0, KvKind::kQ4_0);
  const int n = GENERATE(2, 32, 64, 80, 130);
  CAPTURE(std::string(name_of(kind)), n);
  const auto k = random_values(static_cast<std::size_t>(n), 1), v = random_values(static_cast<std::size_t>(n), 2);
  Page page(kind, n);
  store_kv(kind, k.data(), v.data(), n, 37, page.bytes.data());
  page.decode(scalar_family(), kind);
  for (const bool keys : {true, false}) {
    const auto& x = keys ? k : v;
    for (int begin = 0; begin < n; begin += 32) {
      const int end = std::min(begin + 32, n);
      float largest = 0;
      for (int d = begin; d < end; ++d)
        if (std::fabs(x[static_cast<std::size_t>(d)]) > std::fabs(largest)) largest = x[static_cast<std::size_t>(d)];
      for (int d = begin; d < end; ++d) {
        const float value = x[static_cast<std::size_t>(d)];
        float expected = half_to_float(float_to_half(value));
        if (kind == KvKind::kQ8_0) {
          const float amax = std::fabs(largest);
          expected = half_to_float(float_to_half(amax / 127.0f)) * std::nearbyint(value * (127.0f / amax));
        } else if (kind == KvKind::kQ4_0) {
          const float scale = largest / -8.0f;
          expected = half_to_float(float_to_half(scale)) * (std::min(15.0f, std::floor(value * (1.0f / scale) + 8.5f)) - 8.0f);
        }
        CHECK((keys ? page.k[static_cast<std::size_t>(16 * d + 37 % 16)] : page.v[static_cast<std::size_t>(n * (37 % 16) + d)]) == expected);
      }
    }
  }
}

TEST_CASE("a position is stored without a trace in the others", "[kernels]") {
  for (const KvKind kind : kStored) {
    Page together(kind, 64);
    for (std::int64_t p = 0; p < 16; ++p) {
      const auto k = random_values(64, static_cast<unsigned>(p)), v = random_values(64, static_cast<unsigned>(100 + p));
      store_kv(kind, k.data(), v.data(), 64, p, together.bytes.data());
    }
    Page again = together;
    const auto k = random_values(64, 5), v = random_values(64, 105);
    store_kv(kind, v.data(), k.data(), 64, 5, again.bytes.data());
    CHECK(again.bytes != together.bytes);
    store_kv(kind, k.data(), v.data(), 64, 5, again.bytes.data());
    CHECK(again.bytes == together.bytes);
  }
}

TEST_CASE("zeros stay zero, and a block that cannot be held is NaN and leaves the next block alone", "[kernels]") {
  for (const KvKind kind : kStored) {
    CAPTURE(std::string(name_of(kind)));
    Page page(kind, 64);
    std::vector<float> x(64, 0.0f);
    store_kv(kind, x.data(), x.data(), 64, 0, page.bytes.data());
    page.decode(scalar_family(), kind);
    for (int d = 0; d < 64; ++d) CHECK(page.k[static_cast<std::size_t>(16 * d)] == 0.0f);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1e30f}) {
      x[3] = bad;
      x[40] = 0.5f;
      store_kv(kind, x.data(), x.data(), 64, 0, page.bytes.data());
      page.decode(scalar_family(), kind);
      CHECK_FALSE(std::isfinite(page.k[16 * 3]));
      CHECK_FALSE(std::isfinite(page.v[3]));
      CHECK(page.v[40] == Approx(0.5f).epsilon(0.01));
    }
  }
}

TEST_CASE("every family decodes a page to the scalar kernels' bits", "[kernels]") {
  for (const KvKind kind : kStored)
    for (const int n : {32, 64, 96, 128, 256}) {
      Page page(kind, n);
      std::mt19937 random(static_cast<unsigned>(n));
      for (std::byte& byte : page.bytes) byte = static_cast<std::byte>(random() & 0x7b);  // any bits but non-finite scales
      page.decode(scalar_family(), kind);
      for (const KernelFamily* family : available_kernels()) {
        Page other = page;
        other.decode(*family, kind);
        CAPTURE(std::string(name_of(kind)), n, family->name);
        CHECK(std::memcmp(other.k.data(), page.k.data(), page.k.size() * 4) == 0);
        CHECK(std::memcmp(other.v.data(), page.v.data(), page.v.size() * 4) == 0);
      }
    }
}

// Two layers of a cache; the second is asked for.
struct Cache {
  KvKind kind;
  int kv_heads, head_dim;
  std::vector<std::vector<std::byte>> stored;
  std::vector<std::vector<float>> floats;
  std::vector<const float*> stored_table, float_table;

  Cache(KvKind kind_, int kv_heads_, int head_dim_, std::int64_t positions) : kind(kind_), kv_heads(kv_heads_), head_dim(head_dim_) {
    const auto head_bytes = static_cast<std::size_t>(kv_head_bytes(kind, head_dim)), heads = static_cast<std::size_t>(kv_heads);
    const std::size_t head_floats = static_cast<std::size_t>(32 * head_dim);
    for (std::int64_t p = 0; p < positions; p += 16) {
      stored.emplace_back(2 * heads * head_bytes);
      floats.emplace_back(heads * head_floats);
    }
    for (std::int64_t p = 0; p < positions; ++p)
      for (std::size_t h = 0; h < heads; ++h) {
        const auto k = random_values(static_cast<std::size_t>(head_dim), static_cast<unsigned>(p * 10 + std::int64_t(h)));
        const auto v = random_values(static_cast<std::size_t>(head_dim), static_cast<unsigned>(p * 10 + std::int64_t(h) + 5000));
        store_kv(kind, k.data(), v.data(), head_dim, p, stored[static_cast<std::size_t>(p / 16)].data() + (heads + h) * head_bytes);
      }
    for (std::size_t page = 0; page < stored.size(); ++page) {
      for (std::size_t h = 0; h < heads; ++h) {
        float* k = floats[page].data() + h * head_floats;
        scalar_family().load_kv({kind, head_dim, reinterpret_cast<const unsigned char*>(stored[page].data() + (heads + h) * head_bytes), k, k + head_floats / 2});
      }
      stored_table.push_back(reinterpret_cast<const float*>(stored[page].data()));
      float_table.push_back(floats[page].data());
    }
  }
};

TEST_CASE("attention over stored pages is attention over the floats that they stand for", "[attention]") {
  const auto kind = GENERATE(KvKind::kF16, KvKind::kQ8_0, KvKind::kQ4_0);
  const int head_dim = GENERATE(64, 80);
  const std::int64_t window = GENERATE(0, 21);
  const int heads = 8, kv_heads = 2;
  const Cache cache(kind, kv_heads, head_dim, 130), other(kind, kv_heads, head_dim, 130);
  // Two texts that share their first five pages, positions in no order.
  std::vector<const float*> forked = cache.stored_table, forked_floats = cache.float_table;
  for (std::size_t page = 5; page < forked.size(); ++page) forked[page] = other.stored_table[page], forked_floats[page] = other.float_table[page];
  const std::vector<std::int64_t> positions = {129, 3, 60, 61, 62, 0, 128, 90, 91, 16, 15};
  std::vector<const float* const*> tables, float_tables;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    tables.push_back(i < 6 ? cache.stored_table.data() : forked.data());
    float_tables.push_back(i < 6 ? cache.float_table.data() : forked_floats.data());
  }
  const auto width = static_cast<std::size_t>(heads * head_dim);
  const auto q = random_values(positions.size() * width, 77);
  const auto attend = [&](const KernelFamily& family, bool stored, int threads) {
    std::vector<float> out(positions.size() * width);
    AttentionArgs args;
    args.queries = static_cast<std::int64_t>(positions.size());
    args.q = q.data(), args.q_stride = static_cast<std::int64_t>(width);
    args.positions = positions.data();
    args.pages = stored ? tables.data() : float_tables.data();
    args.heads = heads, args.kv_heads = kv_heads, args.head_dim = head_dim;
    args.kv_head_stride = 32 * head_dim, args.v_offset = 16 * head_dim;
    if (stored) args.kv = kind, args.layer_offset = kv_heads * kv_head_bytes(kind, head_dim);
    args.scale = 0.3f, args.window = window;
    args.out = out.data(), args.out_stride = static_cast<std::int64_t>(width);
    ThreadPool pool(threads);
    MatmulScratch scratch;
    attention(family, args, pool, scratch);
    return out;
  };
  const auto truth = attend(scalar_family(), false, 1);
  for (const KernelFamily* family : available_kernels())
    for (const int threads : {1, 3}) {
      CAPTURE(std::string(name_of(kind)), head_dim, window, family->name, threads);
      CHECK(std::memcmp(attend(*family, true, threads).data(), truth.data(), truth.size() * 4) == 0);
    }
}

TEST_CASE("kinds are found by their names", "[kernels]") {
  for (const KvKind kind : {KvKind::kF32, KvKind::kF16, KvKind::kQ8_0, KvKind::kQ4_0}) CHECK(find_kv_kind(name_of(kind)) == kind);
  CHECK_FALSE(find_kv_kind("Q8_0"));
}

}  // namespace
}  // namespace quantfleet
