#include "backends/models/kv_cache.h"

#include <catch2/catch.hpp>

namespace quantfleet {
namespace {

ModelConfig small() {
  ModelConfig config;
  config.layers = 2;
  config.kv_heads = 2;
  config.head_width = 4;
  return config;
}

TEST_CASE("a fork shares pages until one side writes into the last one", "[models][kv_cache]") {
  KvCache cache(small());
  CHECK(cache.page_bytes() == 2 * 2 * 2 * 16 * 4 * 4);
  const auto value_at = [](KvSequence& sequence, std::int64_t position) -> float& {
    return reinterpret_cast<float*>(sequence.page_of(position))[3];
  };
  KvSequence prefix(cache);
  prefix.extend(20);  // two pages, the second partly
  value_at(prefix, 17) = 5.0f;
  CHECK(cache.pages_in_use() == 2);

  KvSequence left(prefix), right(prefix);
  CHECK(cache.pages_in_use() == 2);
  CHECK(left.table()[1] == prefix.table()[1]);

  left.extend(1);
  CHECK(cache.pages_in_use() == 3);
  CHECK(left.table()[0] == prefix.table()[0]);
  CHECK(left.table()[1] != prefix.table()[1]);
  CHECK(value_at(left, 17) == 5.0f);  // the copy has what was there
  value_at(left, 17) = 6.0f;
  CHECK(value_at(right, 17) == 5.0f);

  SECTION("the last holder of a page writes in place") {
    const float* page = prefix.table()[1];
    right.truncate(0);
    prefix.extend(1);
    CHECK(prefix.table()[1] == page);
  }
  SECTION("a full last page is not copied") {
    prefix.extend(12);
    KvSequence longer(prefix);
    longer.extend(1);
    CHECK(longer.table()[1] == prefix.table()[1]);
    CHECK(longer.length() == 33);
  }
}

TEST_CASE("a fork may begin in the middle of a page", "[models][kv_cache]") {
  KvCache cache(small());
  KvSequence whole(cache);
  whole.extend(40);
  KvSequence part(whole, 18);
  CHECK(part.length() == 18);
  CHECK(cache.pages_in_use() == 3);
  part.extend(1);
  CHECK(part.table()[0] == whole.table()[0]);
  CHECK(part.table()[1] != whole.table()[1]);
}

TEST_CASE("a page takes half, about a quarter and about a seventh of its F32 size", "[models][kv_cache]") {
  ModelConfig config = small();
  config.head_width = 64;
  const std::int64_t values = 2 * 2 * 2 * 16 * 64;
  CHECK(KvCache(config, KvKind::kF32).page_bytes() == 4 * values);
  CHECK(KvCache(config, KvKind::kF16).page_bytes() == 2 * values);
  CHECK(KvCache(config, KvKind::kQ8_0).page_bytes() == values * 34 / 32);
  CHECK(KvCache(config, KvKind::kQ4_0).page_bytes() == values * 18 / 32);
}

TEST_CASE("pages come back when the last sequence lets go", "[models][kv_cache]") {
  KvCache cache(small());
  {
    KvSequence a(cache);
    a.extend(100);
    KvSequence b(a), c(cache);
    c = b;
    b = std::move(a);
    CHECK(cache.pages_in_use() == 7);
  }
  CHECK(cache.pages_in_use() == 0);
  const auto bytes = cache.size_bytes();
  KvSequence again(cache);
  again.extend(100);
  CHECK(cache.size_bytes() == bytes);  // reused, not allocated
}

}  // namespace
}  // namespace quantfleet
