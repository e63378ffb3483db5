// Any bytes: a GGUF file or one sentence; what is accepted decodes without reading outside the bytes.
#include "backends/formats/gguf.h"

#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  const auto file = GgufFile::parse({reinterpret_cast<const std::byte*>(data), size}, "fuzz.gguf");
  if (!file) {
    if (file.error().detail.empty()) __builtin_trap();
    return 0;
  }
  for (const auto& [key, value] : (*file)->metadata()) {
    if ((*file)->find(key) == nullptr) __builtin_trap();
    const auto* array = std::get_if<GgufArray>(&value.data);
    if (array && value.first_elements(size).size() != array->size()) __builtin_trap();
    if (const auto texts = (*file)->get_strings(key); texts && texts->size() != array->size()) __builtin_trap();
    if (const auto numbers = (*file)->get_ints(key); numbers && numbers->size() != array->size()) __builtin_trap();
    if (const auto numbers = (*file)->get_floats(key); numbers && numbers->size() != array->size()) __builtin_trap();
  }
  std::vector<float> row;
  for (const GgufTensor& tensor : (*file)->tensors()) {
    const std::int64_t blocks = tensor.columns() / tensor.format->values_per_block;
    row.resize(static_cast<std::size_t>(tensor.columns()));
    for (std::int64_t i = 0; i < tensor.rows(); ++i)
      tensor.format->decode(tensor.bytes.data() + i * tensor.format->row_bytes(tensor.columns()), blocks, row.data());
  }
  return 0;
}
