#include "reports/tables/text_table.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace quantfleet::reports {
namespace {

constexpr std::size_t kGap = 2;

void append_cell(std::string& out, const std::string& cell, std::size_t width, bool align_right, bool last) {
  const std::string padding(width - display_width(cell), ' ');
  if (align_right) {
    out += padding + cell;
  } else {
    out += cell;
    if (!last) out += padding;
  }
}

}  // namespace

std::size_t display_width(std::string_view utf8) {
  return static_cast<std::size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u; }));
}

TextTable::TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

void TextTable::add(std::vector<std::string> cells) {
  assert(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

std::vector<std::size_t> TextTable::column_widths() const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = display_width(columns_[c].title);
    for (const auto& row : rows_) width = std::max(width, display_width(row[c]));
    widths.push_back(width);
  }
  return widths;
}

std::size_t TextTable::width() const {
  std::size_t total = 0;
  for (std::size_t width : column_widths()) total += width + kGap;
  return total >= kGap ? total - kGap : 0;
}

std::string TextTable::text() const {
  const std::vector<std::size_t> widths = column_widths();
  std::string out;
  const auto line = [&](auto&& cell_of) {
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (c > 0) out.append(kGap, ' ');
      append_cell(out, cell_of(c), widths[c], columns_[c].align_right, c + 1 == columns_.size());
    }
    while (!out.empty() && out.back() == ' ') out.pop_back();
    out += '\n';
  };
  line([&](std::size_t c) { return columns_[c].title; });
  std::string rule;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (c > 0) rule.append(kGap, ' ');
    for (std::size_t i = 0; i < widths[c]; ++i) rule += "─";
  }
  out += rule + '\n';
  for (const auto& row : rows_) line([&](std::size_t c) { return row[c]; });
  return out;
}

}  // namespace quantfleet::reports
