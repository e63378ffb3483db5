// Any bytes as an adapter: a GGUF adapter file, or a PEFT folder (the first line is adapter_config.json, the rest the safetensors file) for a
// Llama of two layers. Refused with a sentence, or read with the sizes that it promises.
#include "backends/huggingface/peft_adapter.h"

#include "backends/formats/catalog.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>

using namespace quantfleet;

namespace {

// The base as far as reading an adapter asks for it.
class Base final : public GgufFile {
 public:
  Base() {
    const auto number = [](std::uint32_t value) { return gguf_uint32(value); };
    metadata_.emplace_back("general.architecture", gguf_string("llama"));
    metadata_.emplace_back("llama.block_count", number(2));
    metadata_.emplace_back("llama.embedding_length", number(8));
    metadata_.emplace_back("llama.attention.head_count", number(2));
    metadata_.emplace_back("llama.attention.head_count_kv", number(1));
    GgufTensor embedding;
    embedding.name = "token_embd.weight";
    embedding.format = find_format("F32");
    embedding.shape = {8, 16};
    tensors_.push_back(embedding);
    for (std::size_t i = 0; i < metadata_.size(); ++i) key_index_.emplace(metadata_[i].first, i);
    tensor_index_.emplace(tensors_[0].name, 0);
  }
  const std::filesystem::path& path() const override { return path_; }
  const std::vector<std::filesystem::path>& parts() const override { return parts_; }
  std::uint64_t size_bytes() const override { return 0; }
  std::uint32_t version() const override { return 3; }
  std::uint64_t alignment() const override { return 32; }
  const std::vector<std::pair<std::string, GgufValue>>& metadata() const override { return metadata_; }
  const std::vector<GgufTensor>& tensors() const override { return tensors_; }
  void forget(std::span<const std::byte>) const override {}

 private:
  std::filesystem::path path_ = "base.gguf";
  std::vector<std::filesystem::path> parts_;
  std::vector<std::pair<std::string, GgufValue>> metadata_;
  std::vector<GgufTensor> tensors_;
};

void check(const Result<LoraAdapter>& adapter) {
  if (!adapter) {
    if (adapter.error().detail.empty()) std::abort();
    return;
  }
  for (const LowRankUpdate& update : adapter->updates) {
    const bool embedding = update.tensor == kAdaptedEmbedding;
    const std::int64_t a = update.rank * (embedding ? update.rows : update.columns), b = update.rank * (embedding ? update.columns : update.rows);
    if (update.rank < 1 || a != static_cast<std::int64_t>(update.a.size()) || b != static_cast<std::int64_t>(update.b.size())) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Base base;
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  if (const auto file = GgufFile::parse(bytes, "fuzz.gguf")) check(read_lora_adapter(**file));
  const std::uint8_t* line = std::find(data, data + size, '\n');
  const auto length = static_cast<std::size_t>(line - data);
  if (length < size) check(huggingface::read_peft_adapter({reinterpret_cast<const char*>(data), length}, bytes.subspan(length + 1), "folder", base));
  return 0;
}
