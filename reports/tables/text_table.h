// Columns aligned with spaces, for a terminal or a log. Width counts code points, enough for the digits and signs used here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace quantfleet::reports {

struct Column {
  std::string title;
  bool align_right = true;
};

class TextTable {
 public:
  explicit TextTable(std::vector<Column> columns);

  void add(std::vector<std::string> cells);  // as many as columns
  std::size_t width() const;                 // of the widest line
  std::string text() const;                  // lines end in "\n"

 private:
  std::vector<std::size_t> column_widths() const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

std::size_t display_width(std::string_view utf8);

}  // namespace quantfleet::reports
