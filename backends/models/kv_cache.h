// Keys and values of past positions, in pages of 16 positions that sequences share: a common prefix costs a copy of a page
// table. A page that a sequence writes to while another holds it is copied first. (Kwon et al. 2023, PagedAttention.)
// Not thread-safe: one thread owns the cache and its sequences.
#pragma once

#include "backends/models/config.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace quantfleet {

// A page holds all layers: for each layer and key-value head K as [D][16], then V as [16][D] (kernels.h, attention), as floats
// or rounded (kv_pages.h).
class KvCache {
 public:
  // Q4_0 needs heads of even width.
  explicit KvCache(const ModelConfig& config, KvKind kind = KvKind::kF32);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  KvKind kind() const { return kind_; }
  std::int64_t head_bytes() const { return head_bytes_; }
  std::int64_t layer_bytes() const { return layer_bytes_; }
  std::int64_t page_bytes() const { return page_bytes_; }
  std::int64_t pages_in_use() const { return pages_in_use_; }
  std::int64_t size_bytes() const { return pages_allocated_ * page_bytes_; }

 private:
  friend class KvSequence;
  struct Page {
    AlignedBuffer bytes;
    std::int64_t holders = 0;
  };
  Page* take();
  void release(Page* page);

  KvKind kind_;
  std::int64_t head_bytes_, layer_bytes_, page_bytes_;
  std::int64_t pages_in_use_ = 0, pages_allocated_ = 0;
  std::vector<std::unique_ptr<Page>> pages_;
  std::vector<Page*> free_;
};

// The positions 0 .. length-1 of one text. Copying shares pages.
class KvSequence {
 public:
  explicit KvSequence(KvCache& cache) : cache_(&cache) {}
  KvSequence(const KvSequence& other) : KvSequence(other, other.length_) {}
  KvSequence(const KvSequence& other, std::int64_t length);  // the first `length` positions
  KvSequence(KvSequence&& other) noexcept;
  KvSequence& operator=(KvSequence other) noexcept;
  ~KvSequence();

  const KvCache& cache() const { return *cache_; }
  std::int64_t length() const { return length_; }
  void truncate(std::int64_t length);

  // Makes positions length .. length+count-1 writable and part of the sequence. Pointers into table() change.
  void extend(std::int64_t count);
  const float* const* table() const { return table_.data(); }         // entry i: positions 16 i .. 16 i + 15
  std::byte* page_of(std::int64_t position) { return pages_[static_cast<std::size_t>(position / kPagePositions)]->bytes.data(); }

 private:
  KvCache* cache_;
  std::int64_t length_ = 0;
  std::vector<KvCache::Page*> pages_;
  std::vector<const float*> table_;
};

}  // namespace quantfleet
