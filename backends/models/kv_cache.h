// Keys and values of past positions, in pages of 16 positions that sequences share: a common prefix costs a copy of a page
// table. A page that a sequence writes to while another holds it is copied first. (Kwon et al. 2023, PagedAttention.)
// Not thread-safe: one thread owns the cache and its sequences.
#pragma once

#include "backends/models/config.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace quantfleet {

// A page holds all layers: for each layer and key-value head K as [D][16], then V as [16][D] (kernels.h, attention).
class KvCache {
 public:
  explicit KvCache(const ModelConfig& config);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  std::int64_t page_floats() const { return page_floats_; }
  std::int64_t layer_offset(int layer) const { return layer * layer_floats_; }    // floats from a page's start to K of head 0
  std::int64_t v_offset() const { return head_floats_ / 2; }                      // floats from a head's K to its V
  std::int64_t head_stride() const { return head_floats_; }
  std::int64_t pages_in_use() const { return pages_in_use_; }
  std::int64_t size_bytes() const { return pages_allocated_ * page_floats_ * static_cast<std::int64_t>(sizeof(float)); }

 private:
  friend class KvSequence;
  struct Page {
    AlignedBuffer floats;
    std::int64_t holders = 0;
  };
  Page* take();
  void release(Page* page);

  std::int64_t head_floats_, layer_floats_, page_floats_;
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

  std::int64_t length() const { return length_; }
  void truncate(std::int64_t length);

  // Makes positions length .. length+count-1 writable and part of the sequence. Pointers into table() change.
  void extend(std::int64_t count);
  const float* const* table() const { return table_.data(); }         // entry i: positions 16 i .. 16 i + 15
  float* page_of(std::int64_t position) { return const_cast<float*>(table_[static_cast<std::size_t>(position / kPagePositions)]); }

 private:
  KvCache* cache_;
  std::int64_t length_ = 0;
  std::vector<KvCache::Page*> pages_;
  std::vector<const float*> table_;
};

}  // namespace quantfleet
