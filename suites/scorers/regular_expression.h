// A compiled PCRE2 pattern over UTF-8 (\w \d \s \b by Unicode, as in Python), with limits, so that a bad pattern ends in an error and not in minutes.
#pragma once

#include "contract/error.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

class RegularExpression {
 public:
  struct Match {
    std::size_t begin = 0, end = 0;     // of the whole match, bytes
    std::vector<std::string> groups;    // group 0 is the whole match; a group that took no part is empty
  };

  static Result<RegularExpression> compile(const std::string& pattern);  // the error gives the position in the pattern
  // All matches from left to right, not overlapping; kTooLarge when matching takes more than the limit.
  Result<std::vector<Match>> find_all(std::string_view text) const;
  // Every match replaced; in `replacement` \1 to \9 stand for groups. As Python's re.sub.
  Result<std::string> replace_all(std::string_view text, std::string_view replacement) const;

 private:
  std::shared_ptr<const void> code_;
};

}  // namespace quantfleet
