// Arbitrary bytes as a model's answer, and as what an item asks for: marked by everything that reads language, LaTeX or asserts.
#include "suites/scorers/code_values.h"
#include "suites/scorers/instructions.h"
#include "suites/scorers/language.h"
#include "suites/scorers/latex_value.h"
#include "suites/scorers/math_answer.h"
#include "suites/scorers/sentences.h"
#include "suites/utf8.h"

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  if (size > 8192) return 0;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const int sentences = count_sentences(text);
  if (sentences < 0 || static_cast<std::size_t>(sentences) > size) __builtin_trap();
  (void)treebank_words(text);
  (void)language_of(text);
  (void)value_tests(text);
  (void)equal_values(text, "\\frac{1}{2}x");
  (void)last_boxed(text);
  (void)normalised_by_minerva(text);
  if (!equal_by_hendrycks(text, text)) __builtin_trap();
  if (loose_variants(text).size() != 8) __builtin_trap();
  if (find_invalid_utf8(text) != std::string::npos) return 0;  // items are valid
  const nlohmann::json arguments = {{"keywords", {text}}, {"keyword", text}, {"frequency", 1}, {"relation", "at least"}, {"forbidden_words", {text}},
                                    {"letter", text}, {"let_frequency", 1}, {"let_relation", "less than"}, {"language", "en"}, {"num_sentences", 1},
                                    {"num_paragraphs", 2}, {"num_words", 3}, {"nth_paragraph", 1}, {"first_word", text}, {"num_placeholders", 1},
                                    {"postscript_marker", text}, {"num_bullets", 1}, {"num_highlights", 1}, {"section_spliter", text}, {"num_sections", 1},
                                    {"prompt_to_repeat", text}, {"end_phrase", text}, {"capital_frequency", 1}, {"capital_relation", "at least"}};
  for (const char* name : {"keywords:existence", "keywords:frequency", "keywords:forbidden_words", "keywords:letter_frequency", "language:response_language",
                           "length_constraints:number_sentences", "length_constraints:number_paragraphs", "length_constraints:number_words",
                           "length_constraints:nth_paragraph_first_word", "detectable_content:number_placeholders", "detectable_content:postscript",
                           "detectable_format:number_bullet_lists", "detectable_format:constrained_response", "detectable_format:number_highlighted_sections",
                           "detectable_format:multiple_sections", "detectable_format:json_format", "detectable_format:title", "combination:two_responses",
                           "combination:repeat_prompt", "startend:end_checker", "startend:quotation", "punctuation:no_comma", "change_case:english_capital",
                           "change_case:english_lowercase", "change_case:capital_word_frequency"})
    if (const auto followed = follows(name, arguments, text); !followed && followed.error().detail.empty()) __builtin_trap();
  return 0;
}
