#include "backends/quantizers/imatrix_file.h"

#include "backends/formats/catalog.h"
#include "backends/formats/file_error.h"
#include "backends/formats/output_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>

namespace quantfleet {

namespace {

constexpr std::int32_t kMaxEntries = 100'000;
constexpr std::int32_t kMaxNameBytes = 65'535;

// Little-endian numbers from front to back; the first error sticks.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::string_view place) : bytes_(bytes), place_(place) {}
  bool ok() const { return error_.detail.empty(); }
  bool at_end() const { return position_ == bytes_.size(); }
  const Error& error() const { return error_; }
  void fail(Code code, std::string_view sentence) {
    if (ok()) error_ = Error{code, fmt::format("{}: {} (byte {})", place_, sentence, position_)};
  }
  std::int32_t number(std::string_view what, std::int32_t low, std::int32_t high) {
    std::int32_t value = 0;
    if (!take(&value, sizeof value, what)) return 0;
    if (value >= low && value <= high) return value;
    fail(Code::kBadValue, fmt::format("{} is {}, expected {} to {}", what, value, low, high));
    return 0;
  }
  std::string text(std::string_view what) {
    std::string value(static_cast<std::size_t>(number(what, 0, kMaxNameBytes)), '\0');
    if (!ok()) return {};
    take(value.data(), value.size(), what);
    return value;
  }
  std::vector<float> floats(std::int32_t count, std::string_view what) {
    if (!ok()) return {};
    if (static_cast<std::uint64_t>(count) * sizeof(float) > bytes_.size() - position_) {
      fail(Code::kTruncated, fmt::format("{} promises {} values, the file ends before", what, count));
      return {};
    }
    std::vector<float> values(static_cast<std::size_t>(count));
    take(values.data(), values.size() * sizeof(float), what);
    return values;
  }

 private:
  bool take(void* to, std::size_t size, std::string_view what) {
    if (!ok()) return false;
    if (size > bytes_.size() - position_) {
      fail(Code::kTruncated, fmt::format("{} needs {} bytes, the file has {} more", what, size, bytes_.size() - position_));
      return false;
    }
    if (size > 0) std::memcpy(to, bytes_.data() + position_, size);
    position_ += size;
    return true;
  }
  std::span<const std::byte> bytes_;
  std::string_view place_;
  std::size_t position_ = 0;
  Error error_;
};

Status check_values(const ImportanceMatrix& matrix, std::string_view place) {
  for (const auto& [name, entry] : matrix.entries)
    for (const float value : entry.mean_square)
      if (!std::isfinite(value) || value < 0)
        return Error{Code::kNonFinite, fmt::format("{}: entry {} holds {}, expected a mean square", place, name, value)};
  return {};
}

Result<ImportanceMatrix> parse_dat(std::span<const std::byte> bytes, std::string_view place) {
  Cursor in(bytes, place);
  ImportanceMatrix matrix;
  const std::int32_t count = in.number("the number of entries", 1, kMaxEntries);
  for (std::int32_t i = 0; i < count && in.ok(); ++i) {
    std::string name = in.text(fmt::format("the name of entry {}", i));
    const std::int32_t calls = in.number(fmt::format("the number of calls of entry {}", i), 0, INT32_MAX);
    const std::int32_t values = in.number(fmt::format("the number of values of entry {}", i), 1, INT32_MAX);
    ImportanceMatrix::Entry entry{in.floats(values, fmt::format("entry {}", i)), calls, {}};
    if (in.ok() && name.empty()) in.fail(Code::kBadValue, fmt::format("entry {} has no name", i));
    if (!in.ok()) break;
    if (calls > 0)
      for (float& value : entry.mean_square) value /= static_cast<float>(calls);
    if (!matrix.entries.emplace(std::move(name), std::move(entry)).second)
      in.fail(Code::kBadValue, fmt::format("entry {} has a name that appeared before", i));
  }
  if (in.ok() && !in.at_end()) {
    matrix.chunks = in.number("the number of chunks", 0, INT32_MAX);
    if (in.ok() && !in.at_end()) matrix.dataset = in.text("the name of the data set");
  }
  if (!in.ok()) return in.error();
  if (Status status = check_values(matrix, place); !status) return status.error();
  return matrix;
}

Result<ImportanceMatrix> from_gguf(const GgufFile& file, std::string_view place) {
  constexpr std::string_view kSums = ".in_sum2";
  ImportanceMatrix matrix;
  auto chunks = file.int_or("imatrix.chunk_count", 0);
  if (!chunks) return chunks.error();
  if (*chunks < 0 || *chunks > INT32_MAX)
    return Error{Code::kBadValue, fmt::format("{}: imatrix.chunk_count is {}", place, *chunks)};
  matrix.chunks = static_cast<std::int32_t>(*chunks);
  if (auto datasets = file.get_strings("imatrix.datasets"); datasets && !datasets->empty()) matrix.dataset = datasets->front();
  for (const GgufTensor& sums : file.tensors()) {
    if (!sums.name.ends_with(kSums)) continue;
    const std::string name = sums.name.substr(0, sums.name.size() - kSums.size());
    const GgufTensor* counts = file.find_tensor(name + ".counts");
    if (!counts || counts->format != &kF32 || sums.format != &kF32 || counts->count_values() != sums.rows())
      return Error{Code::kBadShape, fmt::format("{}: entry {} needs F32 sums and one count per matrix", place, name)};
    ImportanceMatrix::Entry entry{std::vector<float>(static_cast<std::size_t>(sums.count_values())), std::max(1, matrix.chunks), {}};
    std::vector<float> tokens(static_cast<std::size_t>(sums.rows()));
    kF32.decode(sums.bytes.data(), sums.count_values(), entry.mean_square.data());
    kF32.decode(counts->bytes.data(), sums.rows(), tokens.data());
    for (std::size_t i = 0; i < entry.mean_square.size(); ++i) {
      const float count = tokens[i / static_cast<std::size_t>(sums.columns())];
      entry.mean_square[i] = count > 0 ? entry.mean_square[i] / count : 1.0f;
    }
    for (const float count : tokens) entry.tokens.push_back(count >= 0 && count < 1e15f ? static_cast<std::int64_t>(count) : 0);
    matrix.entries.emplace(name, std::move(entry));
  }
  if (matrix.entries.empty()) return Error{Code::kBadValue, fmt::format("{}: a GGUF file without importance entries", place)};
  if (Status status = check_values(matrix, place); !status) return status.error();
  return matrix;
}

Status write_gguf(const std::filesystem::path& path, const ImportanceMatrix& matrix) {
  std::vector<std::pair<std::string, GgufValue>> metadata = {
      {"general.type", gguf_string("imatrix")},
      {"imatrix.chunk_count", gguf_uint32(static_cast<std::uint32_t>(matrix.chunks))},
      {"imatrix.datasets", gguf_strings({matrix.dataset})}};
  for (const auto& [key, value] : matrix.notes) metadata.emplace_back(key, gguf_string(value));
  std::vector<GgufWriter::TensorPlan> plan;
  for (const auto& [name, entry] : matrix.entries) {
    const std::int64_t experts = std::max<std::int64_t>(1, static_cast<std::int64_t>(entry.tokens.size()));
    plan.push_back({name + ".in_sum2", &kF32, {static_cast<std::int64_t>(entry.mean_square.size()) / experts, experts}});
    plan.push_back({name + ".counts", &kF32, {1, experts}});
  }
  auto writer = GgufWriter::create(path, metadata, plan);
  if (!writer) return writer.error();
  for (const auto& [name, entry] : matrix.entries) {
    std::vector<float> counts(entry.tokens.begin(), entry.tokens.end()), sums(entry.mean_square);
    if (counts.empty()) counts.push_back(static_cast<float>(std::max(1, entry.calls)));
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] *= counts[i / (sums.size() / counts.size())];
    if (Status status = (*writer)->write(std::as_bytes(std::span(sums))); !status) return status;
    if (Status status = (*writer)->write(std::as_bytes(std::span(counts))); !status) return status;
  }
  return (*writer)->finish();
}

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

Result<ImportanceMatrix> parse_importance_matrix(std::span<const std::byte> bytes, std::string_view place) {
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0) {
    auto file = GgufFile::parse(bytes, place);
    if (!file) return file.error();
    return from_gguf(**file, place);
  }
  return parse_dat(bytes, place);
}

Result<ImportanceMatrix> read_importance_matrix(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return Error{Code::kBadValue, fmt::format("{}: is a folder; an importance matrix is a file", path.string())};
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return file_error(path, "opening", error.value());
  if (size > std::uintmax_t{1} << 32)
    return Error{Code::kTooLarge, fmt::format("{}: {} bytes are too many for an importance matrix", path.string(), size)};
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) return file_error(path, "opening", errno);
  std::vector<std::byte> bytes(size);
  if (std::fread(bytes.data(), 1, bytes.size(), file.get()) != bytes.size()) return file_error(path, "reading", EIO);
  return parse_importance_matrix(bytes, path.string());
}

Status write_importance_matrix(const std::filesystem::path& path, const ImportanceMatrix& matrix) {
  if (path.extension() == ".gguf") return write_gguf(path, matrix);
  std::string out;
  append(out, static_cast<std::int32_t>(matrix.entries.size()));
  for (const auto& [name, entry] : matrix.entries) {
    const std::int32_t calls = std::max(1, entry.calls);
    append(out, static_cast<std::int32_t>(name.size()));
    out += name;
    append(out, calls);
    append(out, static_cast<std::int32_t>(entry.mean_square.size()));
    for (const float value : entry.mean_square) append(out, value * static_cast<float>(calls));
  }
  append(out, matrix.chunks);
  append(out, static_cast<std::int32_t>(matrix.dataset.size()));
  out += matrix.dataset;

  return write_file(path, out);
}

Status check_importance_of(const ImportanceMatrix& matrix, const GgufFile& model) {
  bool any = false;
  for (const auto& [name, entry] : matrix.entries) {
    const GgufTensor* tensor = model.find_tensor(name);
    if (!tensor && name.starts_with("blk."))
      return Error{Code::kBadValue, fmt::format("is of another model: it names tensor {}, which {} does not have", name, model.path().string())};
    if (!tensor) continue;
    any = true;
    const std::int64_t experts = tensor->shape.size() == 3 ? tensor->shape[2] : 1, wanted = tensor->columns() * experts;
    const auto given = static_cast<std::int64_t>(entry.mean_square.size());
    if (given != wanted)
      return Error{Code::kBadShape, fmt::format("has {} values for tensor {} of {}, which has {} columns{}", given, name, model.path().string(), tensor->columns(),
                                                experts > 1 ? fmt::format(" in {} experts", experts) : "")};
  }
  if (!any) return Error{Code::kBadValue, fmt::format("names no tensor of {}", model.path().string())};
  return {};
}

}  // namespace quantfleet
