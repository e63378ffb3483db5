#include "backends/calibration/calibrated_format.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>

namespace quantfleet {

namespace {

std::string lower(std::string_view text) {
  std::string copy(text);
  for (char& c : copy) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return copy;
}

// Takes `prefix`, a number and `suffix` off the front. false: they are not there; `text` is then as it was.
bool take_number(std::string_view& text, std::string_view prefix, std::string_view suffix, std::int64_t& number) {
  if (!text.starts_with(prefix)) return false;
  const std::string_view rest = text.substr(prefix.size());
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  const std::string_view behind = rest.substr(static_cast<std::size_t>(end - rest.data()));
  if (error != std::errc() || number <= 0 || number > 1 << 20 || !behind.starts_with(suffix)) return false;
  text = behind.substr(suffix.size());
  return true;
}

bool take(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

}  // namespace

std::string CalibratedFormat::name() const {
  if (method == Method::kInt8) return "w8a8-static";
  if (method == Method::kExl2) return "exl2";
  if (method == Method::kSparseGpt) return fmt::format("SparseGPT-{}bit{}", bits, group_size > 0 ? fmt::format("-g{}", group_size) : std::string());
  return fmt::format("{}-{}bit{}{}{}", method == Method::kGptq ? "GPTQ" : "AWQ", bits, group_size > 0 ? fmt::format("-g{}", group_size) : std::string(),
                     method == Method::kGptq && !symmetric ? "-asym" : "", act_order ? "-actorder" : "");
}

bool is_calibrated_format(std::string_view name) {
  const std::string text = lower(name);
  return text.starts_with("gptq-") || text.starts_with("awq-") || text.starts_with("sparsegpt-") || text == "exl2" || text == "w8a8-static";
}

Result<CalibratedFormat> parse_calibrated_format(std::string_view name) {
  const std::string copy = lower(name);
  std::string_view text = copy;
  CalibratedFormat format;
  if (text == "w8a8-static") {
    format = {CalibratedFormat::Method::kInt8, 8, -1, true, false};
    return format;
  }
  if (text == "exl2") {
    format.method = CalibratedFormat::Method::kExl2;
    return format;
  }
  const bool gptq = take(text, "gptq"), sparse = !gptq && take(text, "sparsegpt");
  if (sparse) format.method = CalibratedFormat::Method::kSparseGpt;
  if (!gptq && !sparse && take(text, "awq")) format.method = CalibratedFormat::Method::kAwq;
  std::int64_t bits = 0, group = -1;
  bool good = take_number(text, "-", "bit", bits);
  take_number(text, "-g", "", group);
  format.bits = static_cast<int>(bits);
  format.group_size = group;
  if (gptq) {
    format.symmetric = !take(text, "-asym");
    format.act_order = take(text, "-actorder");
    good = good && (bits == 2 || bits == 3 || bits == 4 || bits == 8);
  } else if (sparse) {
    good = good && (bits == 4 || bits == 8);
  } else {
    format.symmetric = false;
    good = good && bits == 4;
  }
  if (good && text.empty()) return format;
  return Error{Code::kUnknownFormat, fmt::format("no format is called {}; GPTQ-<2|3|4|8>bit[-g<size>][-asym][-actorder] AWQ-4bit[-g<size>], SparseGPT-<4|8>bit[-g<size>], exl2 and w8a8-static are, such as GPTQ-4bit-g128", name)};
}

}  // namespace quantfleet
