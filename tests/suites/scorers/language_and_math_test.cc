// Rules of thumb about language, and LaTeX as values: what each decides, on texts of our own.
#include "suites/scorers/instructions.h"
#include "suites/scorers/language.h"
#include "suites/scorers/latex_value.h"
#include "suites/scorers/math_answer.h"
#include "suites/scorers/sentences.h"

#include <catch2/catch.hpp>

namespace quantfleet {
namespace {

TEST_CASE("languages are told by script, own letters and small words", "[instructions]") {
  CHECK(language_of("The cat is on the table and it sleeps") == "en");
  CHECK(language_of("Die Katze ist auf dem Tisch und schläft nicht") == "de");
  CHECK(language_of("Le chat est dans la maison et les chiens sont avec vous") == "fr");
  CHECK(language_of("El gato está en la casa y los perros también") == "es");
  CHECK(language_of("O gato não está em casa, mas os cães são uma alegria") == "pt");
  CHECK(language_of("Кошка сидит на столе, и это не новость") == "ru");
  CHECK(language_of("Кіт сидить на столі, і це не новина") == "uk");
  CHECK(language_of("बिल्ली मेज पर है और यह नहीं जाती") == "hi");
  CHECK(language_of("மேசை மீது பூனை") == "ta");
  CHECK(language_of("ねこがいます") == "ja");
  CHECK(language_of("고양이") == "ko");
  CHECK(language_of("گربه روی میز است و پنجره") == "fa");
  CHECK(language_of("123 ... !") == "");
}

// Each count is what NLTK 3.10's English Punkt says.
TEST_CASE("sentences end at full stops that are none of an abbreviation", "[instructions]") {
  CHECK(count_sentences("One. Two? Three!") == 3);
  CHECK(count_sentences("Dr. Smith met Mr. J. Smith at 5 p.m. sharp.") == 1);
  CHECK(count_sentences("It costs 3.50 dollars. \"Really?\" Yes") == 3);
  CHECK(count_sentences("No end here") == 1);
  CHECK(count_sentences("  ") == 0);
  CHECK(count_sentences("Wait... what?!") == 3);
  CHECK(count_sentences("They left at 5 p.m. The shop was shut.") == 2);
  CHECK(count_sentences("Box A is red. Box C. One more.") == 2);      // an initial that Punkt knows as an abbreviation
  CHECK(count_sentences("It is of type A. One more.") == 2);          // one that it does not, before a word of every day
  CHECK(count_sentences("Juice Box A. Juice is sweet.") == 1);        // and before what could be a name
  CHECK(count_sentences("lower case. follows, e.g. here") == 3);
  CHECK(count_sentences("1. do this 2. Do that") == 2);
  CHECK(count_sentences("\"No!\" he said. (Yes.) Then (maybe.)") == 4);
  CHECK(count_sentences("\xe2\x80\x9cNo.\xe2\x80\x9d He left... He came back.") == 3);
  CHECK(count_sentences("Hello!!! World") == 2);
  CHECK(count_sentences("Version 3.5.1 of a.b.c is here") == 1);
}

TEST_CASE("words as the Penn Treebank cuts them", "[instructions]") {
  CHECK(treebank_words("DON'T stop, A-B (NOW)!") == std::vector<std::string>{"DO", "N'T", "stop", "A-B", "NOW"});
  CHECK(treebank_words("\xe2\x80\x9cI\xe2\x80\x99M\xe2\x80\x9d") == std::vector<std::string>{"I", "M"});
  CHECK(treebank_words("The U.S. won. OK.") == std::vector<std::string>{"The", "U.S.", "won", "OK"});
}

TEST_CASE("loose variants leave out lines and asterisks", "[instructions]") {
  const auto variants = loose_variants("first *a*\nmiddle\nlast");
  REQUIRE(variants.size() == 8);
  CHECK(variants[1] == "middle\nlast");
  CHECK(variants[2] == "first *a*\nmiddle");
  CHECK(variants[3] == "middle");
  CHECK(variants[4] == "first a\nmiddle\nlast");
  CHECK(loose_variants("one line")[1] == "");
}

TEST_CASE("LaTeX expressions are equal where their values are", "[math]") {
  CHECK(equal_values("\\frac{1}{2}", "0.5"));
  CHECK(equal_values("\\sqrt{12}", "2\\sqrt{3}"));
  CHECK(equal_values("(x+1)^2", "x^2+2x+1"));
  CHECK(equal_values("\\frac12\\pi", "\\pi/2"));
  CHECK(equal_values("-2^2", "-4"));
  CHECK(equal_values("x_1+x_{2}", "x_{2}+x_1"));
  CHECK_FALSE(equal_values("\\sqrt{x^2}", "x"));
  CHECK_FALSE(equal_values("1/3", "0.333"));
  CHECK(equal_values("3x1", "3x"));
  CHECK_FALSE(equal_values("(1,2)", "(1,2)"));  // a pair has no value
  // As SymPy, the longest beginning that is an expression.
  CHECK(equal_values("4,6,14", "4,7"));
  CHECK(equal_values("x\\in[-2,7]", "x\\in[0,1]"));
  CHECK(equal_values("2\\cdot(1,2)", "2"));
  CHECK_FALSE(equal_values(".5", ".5"));
  CHECK_FALSE(equal_values("\\frac{4,6}{1}", "4"));
  CHECK_FALSE(equal_values("\\sin x", "\\sin x"));
  CHECK_FALSE(equal_values("1/0", "1/0"));
  CHECK_FALSE(equal_values(std::string(5000, '('), "1"));
}

TEST_CASE("normal forms of MATH answers", "[math]") {
  CHECK(equal_by_hendrycks("\\dfrac12", "\\frac{1}{2}"));
  CHECK(equal_by_hendrycks("1/2", "\\frac{1}{2}"));
  CHECK(equal_by_hendrycks("x = 5", "5"));
  CHECK(equal_by_hendrycks("10\\%", "10"));
  CHECK(equal_by_hendrycks("5 \\text{ cm}", "5"));
  CHECK_FALSE(equal_by_hendrycks("2/4", "1/2"));
  CHECK(last_boxed("first \\boxed{1}, then \\boxed{\\frac{2}{3}}.") == "\\frac{2}{3}");
  CHECK(last_boxed("$\\boxed 7$") == "7");
  CHECK_FALSE(last_boxed("nothing").has_value());
  CHECK(normalised_by_minerva("x = 1,080 \\text{ dollars}") == "1080");
}

}  // namespace
}  // namespace quantfleet
