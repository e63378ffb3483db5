#include "backends/formats/lora.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace quantfleet {
namespace {

Error bad(const GgufFile& file, Code code, std::string sentence) { return {code, file.path().string() + ": " + std::move(sentence)}; }

Result<std::vector<float>> values_of(const GgufFile& file, const GgufTensor& tensor) {
  const std::int64_t columns = tensor.columns(), rows = tensor.rows(), row_bytes = tensor.format->row_bytes(columns);
  if (row_bytes == 0) return bad(file, Code::kBadShape, fmt::format("tensor {} is not whole blocks of {}", tensor.name, tensor.format->name));
  std::vector<float> values(static_cast<std::size_t>(rows * columns));
  std::vector<std::byte> buffer;
  for (std::int64_t row = 0; row < rows; ++row)
    tensor.format->decode(file.rows(tensor, row, row + 1, buffer).data(), columns / tensor.format->values_per_block, &values[static_cast<std::size_t>(row * columns)]);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!(values[i] - values[i] == 0.0f)) return bad(file, Code::kNonFinite, fmt::format("tensor {}: value {} is not a finite number", tensor.name, i));
  return values;
}

}  // namespace

std::uint64_t LoraAdapter::size_bytes() const {
  std::uint64_t bytes = 0;
  for (const LowRankUpdate& update : updates) bytes += (update.a.size() + update.b.size()) * sizeof(float);
  return bytes;
}

Status check_is_model(const GgufFile& file) {
  const auto type = file.string_or("general.type", "model");
  if (!type) return type.error();
  if (*type == "adapter") return bad(file, Code::kUsage, "is a LoRA adapter, not a model; name the model it was made for, and the adapter with --lora");
  return {};
}

Result<LoraAdapter> read_lora_adapter(const GgufFile& file) {
  const auto type = file.string_or("general.type", "model"), kind = file.string_or("adapter.type", "");
  if (!type) return type.error();
  if (!kind) return kind.error();
  if (*type != "adapter") return bad(file, Code::kBadMagic, fmt::format("general.type is '{}'; an adapter is expected", *type));
  if (*kind != "lora") return bad(file, Code::kUnsupported, fmt::format("adapter.type is '{}'; this program knows lora", *kind));
  if (file.find("adapter.alora.invocation_tokens"))
    return bad(file, Code::kUnsupported, "adapter.alora.invocation_tokens is given: an adapter that works behind some tokens only, which this program lacks");
  LoraAdapter adapter;
  adapter.place = file.path().string();
  auto architecture = file.get_string("general.architecture");
  if (!architecture) return architecture.error();
  adapter.architecture = std::move(*architecture);
  const auto alpha = file.float_or("adapter.lora.alpha", 0);
  if (!alpha) return alpha.error();
  if (!(*alpha - *alpha == 0)) return bad(file, Code::kNonFinite, "adapter.lora.alpha is not a finite number");

  struct Pair {
    const GgufTensor *a = nullptr, *b = nullptr;
  };
  std::map<std::string, Pair> pairs;
  for (const GgufTensor& tensor : file.tensors()) {
    const bool is_a = tensor.name.ends_with(".lora_a"), is_b = tensor.name.ends_with(".lora_b");
    const std::string base = tensor.name.substr(0, tensor.name.size() - std::min<std::size_t>(tensor.name.size(), 7));
    if ((!is_a && !is_b) || !base.ends_with(".weight"))
      return bad(file, Code::kUnsupported, fmt::format("tensor {}: a name that ends in .weight.lora_a or .weight.lora_b is expected", tensor.name));
    (is_a ? pairs[base].a : pairs[base].b) = &tensor;
  }
  if (pairs.empty()) return bad(file, Code::kNotFound, "no tensor at all; an adapter has pairs of .lora_a and .lora_b");
  for (const auto& [base, pair] : pairs) {
    if (!pair.a || !pair.b) return bad(file, Code::kNotFound, fmt::format("tensor {}.{} is missing; {}.{} needs it", base, pair.a ? "lora_b" : "lora_a", base, pair.a ? "lora_a" : "lora_b"));
    const auto dimension = [](const GgufTensor& tensor, std::size_t index) { return index < tensor.shape.size() ? tensor.shape[index] : 1; };
    const bool embedding = base == kAdaptedEmbedding;
    const std::int64_t rank = dimension(*pair.b, 0), rank_of_a = dimension(*pair.a, embedding ? 0 : 1), experts = dimension(*pair.b, 2);
    if (rank != rank_of_a)
      return bad(file, Code::kBadShape, fmt::format("tensor {}.lora_a has rank {}, {}.lora_b rank {}; both must be equal", base, rank_of_a, base, rank));
    if (rank < 1 || rank > kLoraMaxRank) return bad(file, Code::kTooLarge, fmt::format("tensor {}.lora_b has rank {}; 1 to {} are possible", base, rank, kLoraMaxRank));
    if (dimension(*pair.a, 2) != experts || dimension(*pair.a, 3) != 1 || dimension(*pair.b, 3) != 1)
      return bad(file, Code::kBadShape, fmt::format("tensors {}.lora_a and .lora_b are of {} and {} experts", base, dimension(*pair.a, 2), experts));
    auto a = values_of(file, *pair.a), b = values_of(file, *pair.b);
    if (!a || !b) return (a ? b : a).error();
    const bool is_mixture = pair.b->shape.size() > 2 && !embedding;
    const std::size_t a_values = a->size() / static_cast<std::size_t>(experts), b_values = b->size() / static_cast<std::size_t>(experts);
    for (std::int64_t expert = 0; expert < experts; ++expert) {
      LowRankUpdate& update = adapter.updates.emplace_back();
      update.tensor = base;
      update.expert = is_mixture ? expert : -1;
      update.rank = rank;
      update.rows = dimension(*pair.b, 1);
      update.columns = dimension(*pair.a, embedding ? 1 : 0);
      if (embedding) std::swap(update.rows, update.columns);
      update.scale = *alpha != 0 ? static_cast<float>(*alpha / static_cast<double>(rank)) : 1.0f;
      const auto part = [expert](const std::vector<float>& all, std::size_t count) {
        const auto begin = all.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(expert) * count);
        return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(count));
      };
      update.a = part(*a, a_values);
      update.b = part(*b, b_values);
    }
  }
  return adapter;
}

}  // namespace quantfleet
