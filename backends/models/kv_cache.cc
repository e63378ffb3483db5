#include "backends/models/kv_cache.h"

#include "backends/kernels/kv_pages.h"

#include <cstring>
#include <utility>

namespace quantfleet {
namespace {

std::size_t pages_for(std::int64_t length) { return static_cast<std::size_t>((length + kPagePositions - 1) / kPagePositions); }

}  // namespace

KvCache::KvCache(const ModelConfig& config, KvKind kind)
    : kind_(kind),
      head_bytes_(kv_head_bytes(kind, config.head_width)),
      layer_bytes_(head_bytes_ * config.kv_heads),
      page_bytes_(layer_bytes_ * config.layers) {}

KvCache::~KvCache() = default;

KvCache::Page* KvCache::take() {
  ++pages_in_use_;
  if (!free_.empty()) {
    Page* page = free_.back();
    free_.pop_back();
    page->holders = 1;
    return page;
  }
  auto page = std::make_unique<Page>();
  page->bytes.reserve_in_slab(static_cast<std::size_t>(page_bytes_));
  std::memset(page->bytes.data(), 0, static_cast<std::size_t>(page_bytes_));
  page->holders = 1;
  ++pages_allocated_;
  pages_.push_back(std::move(page));
  return pages_.back().get();
}

void KvCache::release(Page* page) {
  if (--page->holders > 0) return;
  --pages_in_use_;
  free_.push_back(page);
}

KvSequence::KvSequence(const KvSequence& other, std::int64_t length) : cache_(other.cache_), length_(length) {
  const std::size_t count = pages_for(length);
  pages_.assign(other.pages_.begin(), other.pages_.begin() + static_cast<std::ptrdiff_t>(count));
  table_.assign(other.table_.begin(), other.table_.begin() + static_cast<std::ptrdiff_t>(count));
  for (KvCache::Page* page : pages_) ++page->holders;
}

KvSequence::KvSequence(KvSequence&& other) noexcept
    : cache_(other.cache_), length_(std::exchange(other.length_, 0)), pages_(std::move(other.pages_)), table_(std::move(other.table_)) {
  other.pages_.clear();
  other.table_.clear();
}

KvSequence& KvSequence::operator=(KvSequence other) noexcept {
  std::swap(cache_, other.cache_);
  std::swap(length_, other.length_);
  pages_.swap(other.pages_);
  table_.swap(other.table_);
  return *this;
}

KvSequence::~KvSequence() {
  for (KvCache::Page* page : pages_) cache_->release(page);
}

void KvSequence::truncate(std::int64_t length) {
  while (pages_.size() > pages_for(length)) {
    cache_->release(pages_.back());
    pages_.pop_back();
    table_.pop_back();
  }
  length_ = length;
}

void KvSequence::extend(std::int64_t count) {
  if (count > 0 && length_ % kPagePositions != 0 && pages_.back()->holders > 1) {
    KvCache::Page* copy = cache_->take();
    std::memcpy(copy->bytes.data(), pages_.back()->bytes.data(), static_cast<std::size_t>(cache_->page_bytes()));
    cache_->release(pages_.back());
    pages_.back() = copy;
    table_.back() = reinterpret_cast<const float*>(copy->bytes.data());
  }
  length_ += count;
  while (pages_.size() < pages_for(length_)) {
    pages_.push_back(cache_->take());
    table_.push_back(reinterpret_cast<const float*>(pages_.back()->bytes.data()));
  }
}

}  // namespace quantfleet
