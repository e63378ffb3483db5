// Templates in a subset of Jinja, for the prompts of tasks and for the chat templates that models carry.
//   {{ expression }}   {% if %} {% elif %} {% else %}   {% for a, b in list if condition %} {% else %}   {% set %}
//   {% macro name(a, b=1) %}                            {% break %} {% continue %}   loop.index, .index0, .first, .last, ...
//   {# comment #}      {%- -%} whitespace control
//   filters, tests and methods: functions.cc            namespace(), range(), raise_exception()
// Not there: include, import, block, call, raw, custom delimiters; objects print and iterate in key order, lists
// hold no undefined values. strftime_now is undefined: templates then name the date that they were written with, and a prompt is
// the same every day.
// Both the template and its variables may be hostile: rendering is bounded in steps and bytes.
// Source: the documentation of Jinja 3.1.  Tests: tests/suites/template/.  Fuzz: tests/fuzz/fuzz_template.cc
#pragma once

#include "contract/error.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace quantfleet {

struct TemplateOptions {
  bool trim_blocks = false;            // drop the newline behind a {% %}
  bool lstrip_blocks = false;          // drop the spaces before a {% %} that begins its line
  bool keep_trailing_newline = true;   // of the template
  bool strict_undefined = true;        // an undefined variable is an error; otherwise it prints as nothing and is false
};
// What models' chat templates are written for.
inline constexpr TemplateOptions kChatTemplateOptions{true, true, false, false};

struct TemplateLimits {
  std::int64_t steps = 2'000'000;          // expressions evaluated, list elements visited, 64 bytes of text made
  std::size_t output_bytes = 16u << 20;
};

inline constexpr std::size_t kTemplateBytesMax = 1u << 20;

namespace jinja { struct Body; }

class Template {
 public:
  // Errors name `place`, line and column: "task.yaml, prompt:1:14: expected '}}', found 'name'".
  static Result<Template> parse(std::string_view source, std::string_view place, const TemplateOptions& options = {});

  // `variables`: an object. kBadValue for whatever the template does wrong, raise_exception included; kTooLarge for a limit.
  Result<std::string> render(const nlohmann::json& variables, const TemplateLimits& limits = {}) const;

 private:
  std::shared_ptr<const jinja::Body> body_;
  std::string place_;
  TemplateOptions options_;
};

}  // namespace quantfleet
