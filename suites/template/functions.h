// Filters, tests, methods and global functions that templates may call; the lists are in functions.cc.
// Internal to suites/template.
#pragma once

#include "suites/template/value.h"

namespace quantfleet::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;

  // The argument at `index` or called `name`; nullptr when absent.
  const Value* find(std::size_t index, std::string_view name) const {
    if (index < positional.size()) return &positional[index];
    for (const auto& [key, value] : keywords)
      if (key == name) return &value;
    return nullptr;
  }
};

Value apply_filter(std::string_view name, const Value& value, const Arguments& arguments, Meter& meter);
bool apply_test(std::string_view name, const Value& value, const Arguments& arguments, Meter& meter);
Value call_method(const Value& object, std::string_view name, const Arguments& arguments, Meter& meter);
Value call_function(std::string_view name, const Arguments& arguments, Meter& meter);

}  // namespace quantfleet::jinja
