// Checkpoint, little-endian:
//   "QFTRAIN1" | u64 length of recipe | recipe | u64 step | u64 floats per array | weights | m | v | SHA-256 of all before
#include "backends/training/checkpoint.h"

#include "backends/formats/half_float.h"
#include "backends/formats/output_file.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>

namespace quantfleet::training {
namespace {

static_assert(std::endian::native == std::endian::little, "checkpoints and digests are written as little-endian floats");

constexpr std::string_view kMagic = "QFTRAIN1";
constexpr std::size_t kDigestBytes = 32;
constexpr std::uint64_t kRecipeBytesMax = 1 << 16;

struct DigestFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void add(std::span<const std::byte> bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::array<std::byte, kDigestBytes> finish() {
    std::array<std::byte, kDigestBytes> digest{};
    EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(digest.data()), nullptr);
    return digest;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, DigestFree> context_;
};

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace

std::string sha256_of(std::span<const std::byte> bytes) {
  Sha256 sha;
  sha.add(bytes);
  std::string text;
  for (const std::byte b : sha.finish()) text += fmt::format("{:02x}", static_cast<unsigned>(b));
  return text;
}

Status write_checkpoint(const std::filesystem::path& path, std::string_view recipe, std::int64_t step,
                        std::array<std::span<const float>, 3> arrays) {
  OutputFile file(path);
  if (Status status = file.open(); !status) return status;
  Sha256 sha;
  Status status;
  const auto put = [&](std::span<const std::byte> bytes) {
    sha.add(bytes);
    if (status) status = file.put(bytes.data(), bytes.size());
  };
  put(std::as_bytes(std::span(kMagic)));
  put(bytes_of(std::uint64_t(recipe.size())));
  put(std::as_bytes(std::span(recipe)));
  put(bytes_of(std::uint64_t(step)));
  put(bytes_of(std::uint64_t(arrays[0].size())));
  for (const auto& array : arrays) put(std::as_bytes(array));
  const auto digest = sha.finish();
  if (status) status = file.put(digest.data(), digest.size());
  return status ? file.finish() : status;
}

Status read_checkpoint(const std::filesystem::path& path, std::string_view recipe, std::int64_t& step,
                       std::array<std::span<float>, 3> arrays) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error{Code::kNotFound, fmt::format("{}: no such checkpoint", path.string())};
  const auto bad = [&](Code code, std::string_view what) { return Error{code, fmt::format("{}: {}", path.string(), what)}; };
  Sha256 sha;
  const auto get = [&](void* target, std::size_t bytes) {
    if (!file.read(static_cast<char*>(target), static_cast<std::streamsize>(bytes))) return false;
    sha.add({static_cast<const std::byte*>(target), bytes});
    return true;
  };
  char magic[8];
  if (!get(magic, sizeof magic)) return bad(Code::kTruncated, "the checkpoint ends within its first 8 bytes");
  if (std::string_view(magic, sizeof magic) != kMagic) return bad(Code::kBadMagic, "not a checkpoint of quantfleet");
  std::uint64_t recipe_bytes = 0, at_step = 0, count = 0;
  if (!get(&recipe_bytes, 8)) return bad(Code::kTruncated, "the checkpoint ends within its header");
  if (recipe_bytes > kRecipeBytesMax) return bad(Code::kTooLarge, fmt::format("the recipe has {} bytes, at most {} are allowed", recipe_bytes, kRecipeBytesMax));
  std::string found(recipe_bytes, '\0');
  if (!get(found.data(), found.size()) || !get(&at_step, 8) || !get(&count, 8))
    return bad(Code::kTruncated, "the checkpoint ends within its header");
  if (found != recipe)
    return bad(Code::kBadValue, fmt::format("the checkpoint belongs to another recipe: \"{}\", expected \"{}\"", found, recipe));
  if (count != arrays[0].size())
    return bad(Code::kBadShape, fmt::format("the checkpoint holds {} weights, expected {}", count, arrays[0].size()));
  std::array<std::vector<float>, 3> values;
  for (auto& array : values) {
    array.resize(count);
    if (!get(array.data(), count * sizeof(float))) return bad(Code::kTruncated, "the checkpoint ends within its arrays");
  }
  const auto expected = sha.finish();
  std::array<std::byte, kDigestBytes> digest;
  if (!file.read(reinterpret_cast<char*>(digest.data()), kDigestBytes)) return bad(Code::kTruncated, "the checkpoint's digest is missing");
  if (digest != expected) return bad(Code::kHashMismatch, "the checkpoint is damaged: its bytes are not the ones its digest promises");
  for (std::size_t i = 0; i < 3; ++i) std::memcpy(arrays[i].data(), values[i].data(), count * sizeof(float));
  step = static_cast<std::int64_t>(at_step);
  return {};
}

Status export_f16(const std::filesystem::path& path, const ModelShape& s, const WeightPlaces& places,
                  std::span<const float> weights, const std::vector<std::pair<std::string, GgufValue>>& tokenizer,
                  const std::string& name) {
  const auto number = [](std::int32_t value) { return gguf_uint32(static_cast<std::uint32_t>(value)); };
  std::vector<std::pair<std::string, GgufValue>> metadata = {
      {"general.architecture", gguf_string("llama")},
      {"general.name", gguf_string(name)},
      {"general.file_type", gguf_uint32(1)},  // mostly F16
      {"llama.vocab_size", number(s.vocabulary)},
      {"llama.context_length", number(s.context)},
      {"llama.embedding_length", number(s.width)},
      {"llama.block_count", number(s.layers)},
      {"llama.feed_forward_length", number(s.feed_forward)},
      {"llama.rope.dimension_count", number(s.head_width)},
      {"llama.rope.freq_base", gguf_float32(s.rope_base)},
      {"llama.attention.head_count", number(s.heads)},
      {"llama.attention.head_count_kv", number(s.kv_heads)},
      {"llama.attention.key_length", number(s.head_width)},
      {"llama.attention.value_length", number(s.head_width)},
      {"llama.attention.layer_norm_rms_epsilon", gguf_float32(s.norm_eps)},
  };
  metadata.insert(metadata.end(), tokenizer.begin(), tokenizer.end());

  std::vector<GgufWriter::TensorPlan> plans;
  for (const TensorPlace& tensor : places.tensors) {
    // Norms stay F32, as converters keep them; GGUF lists the row length first.
    std::vector<std::int64_t> shape = {tensor.columns};
    if (!tensor.is_norm) shape.push_back(tensor.rows);
    plans.push_back({tensor.name, find_format(tensor.is_norm ? "F32" : "F16"), shape});
  }
  auto writer = GgufWriter::create(path, metadata, plans);
  if (!writer) return writer.error();
  std::vector<std::uint16_t> halves;
  for (const TensorPlace& tensor : places.tensors) {
    const std::span<const float> values = weights.subspan(static_cast<std::size_t>(tensor.offset), static_cast<std::size_t>(tensor.count()));
    for (const float value : values)
      if (!std::isfinite(value) || std::fabs(value) > 65504.0f)
        return Error{Code::kNonFinite, fmt::format("{}: a weight is {}, which F16 cannot hold", tensor.name, value)};
    Status written = tensor.is_norm ? (*writer)->write(std::as_bytes(values)) : [&] {
      halves.clear();
      for (const float value : values) halves.push_back(float_to_half(value));
      return (*writer)->write(std::as_bytes(std::span(halves)));
    }();
    if (!written) return written;
  }
  return (*writer)->finish();
}

}  // namespace quantfleet::training
