// Any bytes as a published file: the first byte chooses its format. Records with the line that they begin in, or one sentence.
#include "suites/import.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  if (size == 0) return 0;
  ImportSource source;
  source.format = static_cast<ImportSource::Format>(data[0] % 6);
  const bool lines = source.format == ImportSource::Format::kLines;
  if (data[0] & 64) source.records = "examples";
  if (data[0] & 128 || lines) source.columns = {"a", "b"};
  if (data[0] & 32) source.record_starts = "^ = [^=]+ = $";
  const auto records = read_records({reinterpret_cast<const char*>(data) + 1, size - 1}, source, "data");
  if (!records) {
    if (records.error().detail.empty()) __builtin_trap();
    return 0;
  }
  for (const ImportRecord& record : *records)
    if (!record.fields.is_object() || record.line < 1) __builtin_trap();
  return 0;
}
